// Linears whose weights are f16: lm_head, and those that a checkpoint keeps as floats.
#pragma once
#include <cuda_fp16.h>

#include <cstddef>
#include <cstdint>

#include "backend/cuda/run/step.h"

namespace awq::backend::cuda {

// A row that is not normed yet: x = f16(hidden / sqrt(mean(hidden^2) + eps) * weight).
struct UnnormedRow {
  const float *hidden = nullptr, *weight = nullptr;  // (k)
  float eps = 0;
};

struct DenseArgs {
  int64_t m = 0, n = 0, k = 0;   // k % 8 == 0
  const __half* x = nullptr;     // (m, k)
  const __half* w = nullptr;     // (n, k)
  const __half* bias = nullptr;  // (n) or null
  void* y = nullptr;             // (m, n), f16 or, with `wide`, float32
  bool wide = false;
  // Zero, and zero again afterwards; or null. With it blocks take tiles as they have room for them: one
  // multiprocessor's way to memory is not as quick as another's.
  int32_t* ticket = nullptr;
  // (m, kPickBlocks), or null: the largest numbers of y by blocks, as keys (token_key.cuh). Where takes_stream() and
  // there are no more blocks than that.
  uint64_t* best = nullptr;
  UnnormedRow unnormed = {};  // instead of x, where m = 1 and takes_stream() (dense_stream.h)
};

inline constexpr int64_t kFewDenseRows = 16;  // at once in dense_gemv

// Own kernel up to kFewDenseRows rows, then cuBLASLt; where that is not installed the own one again and again.
// `workspace` has kCublasLtWorkspace bytes. Throws Failure, or returns CUDA's status of the launch.
cudaError_t multiply_dense(const DenseArgs&, void* workspace, const LaunchTarget&);
const char* dense_kernel(int64_t m);  // which of the two

}  // namespace awq::backend::cuda
