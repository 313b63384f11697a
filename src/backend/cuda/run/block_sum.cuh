// Sums over a warp and a block, in a fixed order.
#pragma once
#include <cstdint>

namespace awq::backend::cuda {

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(~0u, v, step);
  return v;
}

// All threads get the sum; blockDim.x is a multiple of 32. Once a kernel: its 32 floats are not used again.
__device__ __forceinline__ float block_sum(float v) {
  __shared__ float of_warp[32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  v = warp_sum(v);
  if (lane == 0) of_warp[warp] = v;
  __syncthreads();
  return warp_sum(lane < static_cast<int>(blockDim.x / 32) ? of_warp[lane] : 0.f);
}

}  // namespace awq::backend::cuda
