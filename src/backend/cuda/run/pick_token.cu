// pick_token -- the largest logit, as one unsigned number that orders like (logit, -id): its maximum does not depend on
// the order of comparing. 513 KB of logits a token of Llama-3, out of L2.
#include "backend/cuda/kernels/fragments.cuh"
#include "backend/cuda/kernels/launch_kernel.h"
#include "backend/cuda/run/last_block.cuh"
#include "backend/cuda/run/pick_token.h"

namespace awq::backend::cuda {
namespace {

constexpr int kThreads = 256;

// 0, below every number's key, for NaN. Adding 0 makes -0 the equal of 0.
__device__ __forceinline__ uint64_t key_of(float logit, int id) {
  if (isnan(logit)) return 0;
  const uint32_t u = __float_as_uint(logit + 0.f), ordered = (u & 0x80000000u) != 0 ? ~u : u | 0x80000000u;
  return uint64_t{ordered} << 32 | static_cast<uint32_t>(~id);
}

__device__ __forceinline__ uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

__device__ __forceinline__ uint64_t block_max(uint64_t v) {
  __shared__ uint64_t of_warp[kThreads / 32];
  for (int step = 16; step > 0; step /= 2) v = larger(v, __shfl_xor_sync(~0u, v, step));
  __syncthreads();  // the values of a call before have been read
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = v;
  __syncthreads();
  for (const uint64_t other : of_warp) v = larger(v, other);
  return v;
}

__global__ void __launch_bounds__(kThreads) pick_token(PickArgs a) {
  allow_next_kernel();
  wait_for_previous_kernel();
  const float* const logits = a.logits + blockIdx.y * a.vocab;
  uint64_t best = 0;
#pragma unroll 4
  for (int64_t i = blockIdx.x * kThreads + threadIdx.x; i < a.vocab; i += int64_t{kPickBlocks} * kThreads)
    best = larger(best, key_of(logits[i], static_cast<int>(i)));
  best = block_max(best);
  uint64_t* const of_block = a.best + blockIdx.y * kPickBlocks;
  if (threadIdx.x == 0) __stcg(reinterpret_cast<unsigned long long*>(of_block + blockIdx.x), best);
  if (!arrives_last(a.tickets + blockIdx.y, kPickBlocks)) return;
  const auto* const all = reinterpret_cast<const unsigned long long*>(of_block);
  best = block_max(threadIdx.x < kPickBlocks ? __ldcg(all + threadIdx.x) : 0);
  if (threadIdx.x == 0) a.ids[blockIdx.y] = best == 0 ? -1 : static_cast<int32_t>(~static_cast<uint32_t>(best));
}

}  // namespace

cudaError_t launch_pick(const PickArgs& a, const LaunchTarget& on) {
  return launch_kernel(pick_token, dim3(kPickBlocks, static_cast<unsigned>(a.m)), kThreads, 0, on.stream, on.overlap,
                       a);
}

}  // namespace awq::backend::cuda
