// pick_token -- the largest logit, as one unsigned number that orders like (logit, -id): its maximum does not depend on
// the order of comparing. 513 KB of logits a token of Llama-3, out of L2.
#include "backend/cuda/kernels/fragments.cuh"
#include "backend/cuda/kernels/launch_kernel.h"
#include "backend/cuda/run/last_block.cuh"
#include "backend/cuda/run/pick_token.h"
#include "backend/cuda/run/token_key.cuh"

namespace awq::backend::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) pick_token(PickArgs a) {
  allow_next_kernel();
  wait_for_previous_kernel();
  const float* const logits = a.logits + blockIdx.y * a.vocab;
  uint64_t best = 0;
#pragma unroll 4
  for (int64_t i = blockIdx.x * kThreads + threadIdx.x; i < a.vocab; i += int64_t{kPickBlocks} * kThreads)
    best = larger(best, key_of(logits[i], static_cast<int>(i)));
  best = block_max<kThreads>(best);
  uint64_t* const of_block = a.best + blockIdx.y * kPickBlocks;
  if (threadIdx.x == 0) __stcg(reinterpret_cast<unsigned long long*>(of_block + blockIdx.x), best);
  if (!arrives_last(a.tickets + blockIdx.y, kPickBlocks)) return;
  const auto* const all = reinterpret_cast<const unsigned long long*>(of_block);
  best = block_max<kThreads>(threadIdx.x < kPickBlocks ? __ldcg(all + threadIdx.x) : 0);
  if (threadIdx.x == 0) a.ids[blockIdx.y] = best == 0 ? -1 : id_of(best);
}

// Where lm_head has left the largest of its parts.
__global__ void __launch_bounds__(kThreads) take_best(PickArgs a) {
  allow_next_kernel();
  wait_for_previous_kernel();
  const uint64_t* const parts = a.best + blockIdx.x * kPickBlocks;
  const uint64_t best = block_max<kThreads>(threadIdx.x < kPickBlocks ? parts[threadIdx.x] : 0);
  if (threadIdx.x == 0) a.ids[blockIdx.x] = best == 0 ? -1 : id_of(best);
}

}  // namespace

cudaError_t launch_pick(const PickArgs& a, const LaunchTarget& on) {
  if (a.made) return launch_kernel(take_best, dim3(static_cast<unsigned>(a.m)), kThreads, 0, on.stream, on.overlap, a);
  return launch_kernel(pick_token, dim3(kPickBlocks, static_cast<unsigned>(a.m)), kThreads, 0, on.stream, on.overlap,
                       a);
}

}  // namespace awq::backend::cuda
