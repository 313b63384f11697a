// What the C API checks before anything runs; each throws Failure with a sentence that names the argument.
#pragma once
#include "awq/cuda.h"
#include "backend/cuda/linear_launch.h"

namespace awq::backend::cuda {

void require_pointer(const void* pointer, const char* name);  // set, and a multiple of 16 bytes
void require_type(awq_cuda_type type);
void require_rows(int64_t m);

// The shape that a linear allows, then its three arrays, then bias and salient channels.
TileLayout checked_layout(const awq_cuda_linear* w);
bool is_layout(int64_t n, int64_t k, int64_t group_size);
void require_weights(const awq_cuda_linear& w);
void require_extras(const awq_cuda_linear& w);

// A checkpoint's arrays, for a linear of that size.
void require_source(const awq_cuda_source* from, const TileLayout& layout);

}  // namespace awq::backend::cuda
