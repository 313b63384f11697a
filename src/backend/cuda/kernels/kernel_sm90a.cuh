// The Hopper kernel: one warp copies weights, one copies x, (for few tokens) two or four sum x and convert scales and
// zero points, the other warps multiply.
#pragma once
#include "backend/cuda/kernels/consume_integers.cuh"
#include "backend/cuda/kernels/consume_scaled.cuh"

namespace awq::backend::cuda {

// By one thread. Weights that enter as integers are used by one of the two warpgroups, and x by it and the warp
// that sums.
template <class Shape>
__device__ __forceinline__ void init_barriers(const PipelineParams& p, const Memory& memory) {
  for (int s = 0; s < p.stages; ++s) {
    barrier_init(memory.full + 8 * s, 1);
    barrier_init(memory.empty() + 8 * s, Shape::kFold ? Shape::kConsumerWarps / 2 * 32 + 1 : Shape::kConsumerWarps);
    barrier_init(memory.summed() + 8 * s, 32);
  }
  if (p.cluster > 1) {
    const int senders = ClusterShare{rank_in_cluster(), p.cluster}.senders(Shape::kFinishers);
    barrier_init(memory.full + Shape::kSent, 1);
    barrier_expect(memory.full + Shape::kSent, senders * Shape::kValues * 128);
  }
  barriers_are_ready();
}

template <class T, class Shape>
__global__ void __launch_bounds__(Shape::kThreads, 1)
    w4a16_sm90a(const __grid_constant__ PipelineParams p, const __grid_constant__ PipelineMaps maps,
                const __grid_constant__ Epilogue<T> epilogue) {
  constexpr int kTokens = Shape::kTokens, kGroups = Shape::kGroups, kParts = Shape::kParts;
  constexpr int kConsumerWarps = Shape::kConsumerWarps;
  extern __shared__ unsigned char smem_raw[];
  const uint32_t base = smem_address(smem_raw);
  const Memory memory{base, (base + Shape::ring_at(p.stages, p.cluster) + 1023) / 1024 * 1024};
  const uint32_t full = memory.full, empty = memory.empty(), ring = memory.ring;
  const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0);

  if (threadIdx.x == 0) init_barriers<Shape>(p, memory);
  allow_next_kernel();
  __syncthreads();
  if (p.cluster > 1) arrive_at_cluster_relaxed();  // the other half is in add_in_cluster()

  if (warp >= kConsumerWarps) {
    give_registers<Shape::kProducerRegisters>();
    // Weights, scales and zero points do not depend on the previous kernel and run ahead; x waits for it.
    if (warp == kConsumerWarps && elect_one()) {
      produce<Shape>(p, empty, [&](int tile, int chunk, int slot) {
        const uint32_t to = ring + slot * Shape::kStage, barrier = full + 8 * slot;
        const int rows = tile / p.token_blocks, side = rows % kParts, block0 = rows / kParts * Shape::kRowBlocks;
        const int unit = chunk / (2 * kParts);
        const int g = first_group_of<kParts * kGroups>(unit, p.unit_to_group, p.groups) + chunk % 2 * kGroups / 2;
        barrier_expect(barrier, Shape::kBytes);
        tensor_copy(to + Shape::kXBytes, &maps.qweight, side * 128, chunk, block0, barrier, kEvictFirst);
        tensor_copy(to + Shape::kScales, &maps.scales, side * 32, g, block0, barrier, kEvictFirst);
        tensor_copy(to + Shape::kZeros, &maps.zeros, side * 16, g, block0, barrier, kEvictFirst);
      });
    } else if (warp == kConsumerWarps + 1 && elect_one()) {
      prefetch_map(&maps.x);
      wait_for_previous_kernel();
      produce<Shape>(p, empty, [&](int tile, int chunk, int slot) {
        const uint32_t to = ring + slot * Shape::kStage;
        const int token0 = tile % p.token_blocks * kTokens;
        tensor_copy(to, &maps.x, 0, token0, chunk, full + 8 * slot, kEvictLast);
        if constexpr (Shape::kXBoxes == 2 && Shape::kChunks == 2)
          tensor_copy(to + Shape::kXBox, &maps.x, 0, token0, chunk + 1, full + 8 * slot, kEvictLast);
      });
    }
    if constexpr (Shape::kFold) {
      // A slot of the ring is always the same warp's (and warpgroup's: rings are even): one that had not waited for the
      // phase before could take the end of the phase before that for this one's.
      const int turns = p.stages % 4 == 0 ? 4 : 2, side = warp - kConsumerWarps - 2;
      if (side >= 0 && side < turns) prepare_stages<Shape>(p, memory, side, turns);
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
