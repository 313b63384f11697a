// The Hopper kernel: one warp copies weights, one copies x, (for few tokens) two sum x and convert scales and zero
// points, the other warps multiply.
#pragma once
#include "backend/cuda/kernels/consume_integers.cuh"
#include "backend/cuda/kernels/consume_scaled.cuh"

namespace awq::backend::cuda {

// By one thread. Weights that enter as integers are used by one of the two warpgroups, and x by it and two warps that
// sum.
template <class Shape>
__device__ __forceinline__ void init_barriers(const PipelineParams& p, const Memory& memory) {
  for (int s = 0; s < p.stages; ++s) {
    barrier_init(memory.full + 8 * s, 1);
    barrier_init(memory.empty() + 8 * s, Shape::kFold ? Shape::kConsumerWarps / 2 + 2 : Shape::kConsumerWarps);
    barrier_init(memory.summed() + 8 * s, 2);
  }
  if (p.cluster > 1) {
    const int senders = ClusterShare{rank_in_cluster(), p.cluster}.senders(Shape::kConsumerWarps);
    barrier_init(memory.full + Shape::kSent, 1);
    barrier_expect(memory.full + Shape::kSent, senders * Shape::kValues * 128);
  }
  barriers_are_ready();
}

template <class T, class Shape>
__global__ void __launch_bounds__(Shape::kThreads, 1)
    w4a16_sm90a(const __grid_constant__ PipelineParams p, const __grid_constant__ PipelineMaps maps,
                const __grid_constant__ Epilogue<T> epilogue) {
  constexpr int kTokens = Shape::kTokens, kGroups = Shape::kGroups;
  constexpr int kConsumerWarps = Shape::kConsumerWarps;
  extern __shared__ unsigned char smem_raw[];
  const uint32_t base = smem_address(smem_raw);
  const Memory memory{base, (base + Shape::ring_at(p.stages, p.cluster) + 1023) / 1024 * 1024};
  const uint32_t full = memory.full, empty = memory.empty(), summed = memory.summed(), ring = memory.ring;
  const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32;

  if (threadIdx.x == 0) init_barriers<Shape>(p, memory);
  allow_next_kernel();
  __syncthreads();
  if (p.cluster > 1) arrive_at_cluster_relaxed();  // the other half is in add_in_cluster()

  if (warp >= kConsumerWarps) {
    give_registers<Shape::kProducerRegisters>();
    // Weights, scales and zero points do not depend on the previous kernel and run ahead; x waits for it.
    if (warp == kConsumerWarps && elect_one()) {
      produce<Shape::kChunks>(p, empty, [&](int tile, int chunk, int slot) {
        const uint32_t to = ring + slot * Shape::kStage, barrier = full + 8 * slot;
        const int block0 = tile / p.token_blocks * Shape::kRowBlocks;
        const int g = first_group_of<kGroups>(chunk / 2, p.unit_to_group, p.groups) + chunk % 2 * kGroups / 2;
        barrier_expect(barrier, Shape::kBytes);
        tensor_copy(to + Shape::kXBytes, &maps.qweight, 0, chunk, block0, barrier, kEvictFirst);
        tensor_copy(to + Shape::kScales, &maps.scales, 0, g, block0, barrier, kEvictFirst);
        tensor_copy(to + Shape::kZeros, &maps.zeros, 0, g, block0, barrier, kEvictFirst);
      });
    } else if (warp == kConsumerWarps + 1 && elect_one()) {
      prefetch_map(&maps.x);
      wait_for_previous_kernel();
      produce<Shape::kChunks>(p, empty, [&](int tile, int chunk, int slot) {
        const uint32_t to = ring + slot * Shape::kStage;
        const int token0 = tile % p.token_blocks * kTokens;
        tensor_copy(to, &maps.x, 0, token0, chunk, full + 8 * slot, kEvictLast);
        if constexpr (Shape::kXBoxes == 2 && Shape::kChunks == 2)
          tensor_copy(to + Shape::kXBox, &maps.x, 0, token0, chunk + 1, full + 8 * slot, kEvictLast);
      });
    }
    if constexpr (Shape::kFold) {
      if (const int half = warp - kConsumerWarps - 2; half >= 0) {
        RingPosition at{0, 0};
        Work work{};
        for (int w = 0; work.next(p, w); ++w)
          for (int i = 0; i < work.count; ++i) {
            barrier_wait(full + 8 * at.slot, at.parity);
            const uint32_t stage = ring + at.slot * Shape::kStage;
            Factors<Shape> made;
            made.load(stage, half);
            sum_x<kTokens>(stage + half * Shape::kXBox, full + Shape::kXSums + (at.slot * 2 + half) * kTokens * 4);
            made.store(full + Shape::factors_at(p.stages) + at.slot * Shape::kFactors, half);
            __syncwarp();
            if (lane == 0) barrier_arrive(summed + 8 * at.slot), barrier_arrive(empty + 8 * at.slot);
            at.advance(p.stages);
          }
      }
    }
  } else {
    take_registers<Shape::kConsumerRegisters>();
    if constexpr (Shape::kFold)
      consume_integers<T, Shape>(p, epilogue, memory);
    else
      consume_scaled<T, Shape>(p, epilogue, memory, &maps.y);
  }
}

}  // namespace awq::backend::cuda
