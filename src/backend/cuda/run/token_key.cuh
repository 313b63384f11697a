// Logits as unsigned numbers that order like (logit, -id), all different: the lowest id first among equals.
#pragma once
#include <cstdint>

namespace awq::backend::cuda {

// 0, below every number's key, for NaN. Adding 0 makes -0 the equal of 0.
__device__ __forceinline__ uint64_t key_of(float logit, int id) {
  if (isnan(logit)) return 0;
  const uint32_t u = __float_as_uint(logit + 0.f), ordered = (u & 0x80000000u) != 0 ? ~u : u | 0x80000000u;
  return uint64_t{ordered} << 32 | static_cast<uint32_t>(~id);
}

__device__ __forceinline__ float logit_of(uint64_t key) {
  const auto ordered = static_cast<uint32_t>(key >> 32);
  return __uint_as_float((ordered & 0x80000000u) != 0 ? ordered & 0x7fffffffu : ~ordered);
}

__device__ __forceinline__ int32_t id_of(uint64_t key) { return static_cast<int32_t>(~static_cast<uint32_t>(key)); }

__device__ __forceinline__ uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

// The largest over a block of kThreads, to every thread.
template <int kThreads>
__device__ __forceinline__ uint64_t block_max(uint64_t v) {
  __shared__ uint64_t of_warp[kThreads / 32];
  for (int step = 16; step > 0; step /= 2) v = larger(v, __shfl_xor_sync(~0u, v, step));
  __syncthreads();  // the values of a call before have been read
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = v;
  __syncthreads();
  for (const uint64_t other : of_warp) v = larger(v, other);
  return v;
}

}  // namespace awq::backend::cuda
