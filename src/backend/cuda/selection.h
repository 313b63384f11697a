// From a version's name and a problem to the row of kCudaRows that runs it.
#pragma once
#include "awq/cuda.h"
#include "backend/cuda/linear_launch.h"

namespace awq::backend::cuda {

// Throws Failure. `gpu` need not be one that is there: tests ask about others.
size_t chosen_row(const char* version, const LinearArgs& args, const Gpu& gpu);

// Most bytes that any call with 1 .. args.m rows needs. Above kScannedRows the need is taken to change slowly with m.
inline constexpr int64_t kScannedRows = 8192;
size_t largest_workspace(const char* version, const LinearArgs& args, const Gpu& gpu);

}  // namespace awq::backend::cuda
