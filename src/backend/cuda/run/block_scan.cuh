// Running sums over a block, of integers: exact, whatever the order.
#pragma once
#include <cstdint>

namespace awq::backend::cuda {

struct RunningSum {
  uint64_t through, total;  // of this thread and those below it; of all
};

template <int kThreads>
__device__ __forceinline__ RunningSum block_scan(uint64_t v) {
  __shared__ uint64_t of_warp[kThreads / 32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int step = 1; step < 32; step *= 2) {
    const uint64_t below = __shfl_up_sync(~0u, v, step);
    if (lane >= step) v += below;
  }
  __syncthreads();  // the sums of a call before have been read
  if (lane == 31) of_warp[warp] = v;
  __syncthreads();
  RunningSum sum{v, 0};
#pragma unroll
  for (int w = 0; w < kThreads / 32; ++w) {
    if (w < warp) sum.through += of_warp[w];
    sum.total += of_warp[w];
  }
  return sum;
}

// Counts and weights by bin, in shared memory. A weight is two 32-bit sums with the carry between them: shared memory
// adds 32 bits by itself, 64 only in a loop of tries.
template <int kBins>
struct Bins {
  uint32_t counts[kBins], low[kBins], high[kBins];

  __device__ __forceinline__ void clear() {
    for (int i = threadIdx.x; i < kBins; i += blockDim.x) counts[i] = low[i] = high[i] = 0;
  }
  __device__ __forceinline__ void add(int bin, uint64_t weight) {
    const auto part = static_cast<uint32_t>(weight);
    auto upper = static_cast<uint32_t>(weight >> 32);
    if (part > 0) upper += atomicAdd(low + bin, part) + part < part;
    if (upper > 0) atomicAdd(high + bin, upper);
    atomicAdd(counts + bin, 1u);
  }
  __device__ __forceinline__ uint64_t weight(int bin) const { return uint64_t{high[bin]} << 32 | low[bin]; }
};

}  // namespace awq::backend::cuda
