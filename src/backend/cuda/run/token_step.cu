// token_step -- all blocks of a model for one token, in one cooperative launch of a block an SM.
//
//   for every block of the model   q k v = W norm(hidden)
//                                  attended = attention(q k v)
//                                  middle = hidden + W attended
//                                  activated = silu(gate) up        of W norm(middle)
//                                  hidden = middle + W activated
//
// Launched one by one, a block of Llama-3-8B is eight kernels, each of which fills and drains the memory's pipeline: 55
// % of its bandwidth (docs/performance.md). Here the weights stream on through a ring of 167 KB an SM, 22 MB of an
// H200, 4.8 us of its bandwidth, while blocks wait for each other's numbers (token_step_exchange.cuh) and prepare x.
//
//   bytes a token      weights + 4 c d kv_heads layers; 3.6 GB of Llama-3-8B without lm_head, 0.79 ms at 4.6 TB/s
//   warps 0 .. 7       take x, multiply, attend
//   warp 8             sums of a tile over the warps -> bias, residual or gate -> the exchange; clears it, too
//   warp 9             one lane copies weights, never waiting for anything but room
//   warp 10            fetches what the next block of the model needs beside them
#include <algorithm>

#include "backend/cuda/kernels/launch_kernel.h"
#include "backend/cuda/kernels/silu.cuh"
#include "backend/cuda/run/token_step_attention.cuh"
#include "backend/cuda/run/token_step_weights.cuh"

namespace awq::backend::cuda {
namespace {

// Warps 0 .. 7.
template <int kInUnit, int kD>
__device__ __forceinline__ void work(const TokenStepArgs& a, unsigned char* smem, uint32_t base, uint32_t ring) {
  const uint32_t turns = __ldcg(a.turn);
  const StepAttention<kD> attention(a, smem);
  auto* const beside = reinterpret_cast<StepBeside*>(smem + StepSmem::kBeside);
  attention.prepare();
  StepTurn turn;
#pragma unroll 1
  for (int layer = 0; layer < a.layers; ++layer) {
    barrier_wait(base + StepSmem::kNextHere, layer % 2);
    const StepBeside& now = beside[layer % 2];
    const StepCopy copy(a, turns + layer), before(a, turns + layer - 1);
    attention.begin(now.heads);
#pragma unroll 1
    for (int linear = 0; linear < kStepLinears; ++linear) {
      if (linear == kStepO) attention.run(layer, copy, now.heads);
      if (linear == kStepGateUp && threadIdx.x == 0) barrier_arrive(base + StepSmem::kNextWanted);
      if (linear == kStepDown) fence_grid();  // all of `middle` was read
      const StepShape& shape = a.shapes[linear];
      if (static_cast<int>(blockIdx.x) >= shape.tiles) continue;
      if (linear == kStepO || linear == kStepDown) {
        take_x(smem, linear == kStepO ? copy.attended() : copy.activated(), shape.k);
      } else {
        const bool first = layer == 0 && linear == kStepQkv;
        const float* const hidden = first ? a.hidden : linear == kStepQkv ? before.hidden() : copy.middle();
        const float* const weight = linear == kStepQkv ? now.input_norm : now.post_attention_norm;
        if (shape.k <= kMostStepHidden / 2)
          norm_x<kNormQuads / 2>(smem, hidden, !first, weight, shape.k, a.norm_eps);
        else
          norm_x<kNormQuads>(smem, hidden, !first, weight, shape.k, a.norm_eps);
      }
      meet();
      if (linear == kStepO && threadIdx.x == 0) barrier_arrive(base + StepSmem::kXOfO);
      multiply_tiles<kInUnit>(a, shape, base, ring, turn);
    }
  }
}

// What becomes of a row's sum, in lane `row % 16`; of gate and up, lane i + 8 has what belongs to lane i. The rows of
// the residual stream are the same lane's after O and after down, so `hidden` is nobody else's while the grid runs.
struct Finisher {
  const TokenStepArgs& a;

  __device__ __forceinline__ float before(int linear, int row) const {
    return linear == kStepO || linear == kStepDown ? __ldcg(a.hidden + row) : 0.f;
  }
  // By the warp; where the row is `mine`.
  __device__ __forceinline__ void finish(const StepCopy& to, int linear, int row, bool mine, float before,
                                         float sum) const {
    const float up = __shfl_down_sync(~0u, sum, 8);
    const float y = linear == kStepGateUp ? silu_times(sum, up) : sum, next = __shfl_down_sync(~0u, y, 1);
    if (!mine) return;
    if (linear == kStepO || linear == kStepDown) {
      publish((linear == kStepO ? to.middle() : to.hidden()) + row, before + sum);
      __stcg(a.hidden + row, before + sum);
    } else if (row % 2 == 0) {
      if (linear == kStepQkv) publish(to.qkv() + row, y, next);
      if (linear == kStepGateUp && row % 16 < 8) publish(to.activated() + row / 16 * 8 + row % 8, y, next);
    }
  }
};

// What the next block of the model needs beside its weights, while gate and up are multiplied: from memory it takes as
// long as an exchange. Warp 10.
__device__ __forceinline__ void fetch_beside(const TokenStepArgs& a, unsigned char* smem, uint32_t base) {
  const int lane = threadIdx.x % 32;
#pragma unroll 1
  for (int layer = 0; layer < a.layers; ++layer) {
    if (layer > 0) barrier_wait(base + StepSmem::kNextWanted, (layer - 1) % 2);
    const StepBeside& from = a.blocks[layer].beside;
    auto* const to = reinterpret_cast<uint4*>(smem + StepSmem::kBeside + layer % 2 * sizeof(StepBeside));
    if (lane < static_cast<int>(sizeof(StepBeside) / 16))
      to[lane] = __ldg(reinterpret_cast<const uint4*>(&from) + lane);
    __syncwarp();
    if (lane == 0) barrier_arrive(base + StepSmem::kNextHere);
    prefetch_context(a, layer, from.heads.sliding_window);
  }
}

// Warp 8.
__device__ __forceinline__ void finish_tiles(const TokenStepArgs& a, const unsigned char* smem, uint32_t base) {
  const int lane = threadIdx.x % 32;
  const uint32_t turns = __ldcg(a.turn);
  const Finisher finisher{a};
  int done = 0;
  for (int layer = 0; layer < a.layers; ++layer) {
    const StepCopy now(a, turns + layer);
#pragma unroll 1
    for (int linear = 0; linear < kStepLinears; ++linear) {
      const StepShape& shape = a.shapes[linear];
      const __half* const bias = a.blocks[layer].beside.bias[linear];
      if (linear == kStepO && static_cast<int>(blockIdx.x) < shape.tiles) {
        barrier_wait(base + StepSmem::kXOfO, layer % 2);
        clear_next(a, turns + layer, blockIdx.x, min(static_cast<int>(gridDim.x), shape.tiles));
      }
      const BlockTiles tiles(shape);
#pragma unroll 1
      for (int i = 0; i < tiles.count; ++i, ++done) {
        const int row = tiles[i] * kTileRows + lane, slot = done % kStepSums;
        const bool mine = lane < kTileRows && row < shape.n;
        const float before = mine ? finisher.before(linear, row) : 0.f;
        float sum = mine && bias != nullptr ? __half2float(bias[row]) : 0.f;
        barrier_wait(base + StepSmem::kTileFull + 8 * slot, done / kStepSums % 2);
        const auto* const sums = reinterpret_cast<const float*>(smem + StepSmem::kSums) + slot * kStepWarps * kTileRows;
        for (int warp = 0; warp < kStepWarps; ++warp) sum += sums[warp * kTileRows + lane % kTileRows];
        finisher.finish(now, linear, row, mine, before, sum);
        __syncwarp();
        if (lane == 0) barrier_arrive(base + StepSmem::kTileFree + 8 * slot);
      }
    }
  }
  // All of the grid read it before the sums above could be.
  if (blockIdx.x == 0 && lane == 0) *a.turn = turns + a.layers;
}

template <int kInUnit, int kD>
__global__ void __launch_bounds__(kStepBlockThreads, 1)
    token_step(__grid_constant__ const TokenStepArgs a, int ring_at) {
  extern __shared__ __align__(128) unsigned char smem[];
  const uint32_t base = smem_address(smem), ring = base + ring_at;
  if (threadIdx.x == 0) {
#pragma unroll 1
    for (int i = 0; i < a.stages; ++i) {
      barrier_init(base + StepSmem::kFull + 8 * i, 1);
      barrier_init(base + StepSmem::kEmpty + 8 * i, kStepWarps);
    }
    for (int i = 0; i < kStepSums; ++i) {
      barrier_init(base + StepSmem::kTileFull + 8 * i, kStepWarps);
      barrier_init(base + StepSmem::kTileFree + 8 * i, 1);
    }
    for (const int barrier : {StepSmem::kXOfO, StepSmem::kNextWanted, StepSmem::kNextHere})
      barrier_init(base + barrier, 1);
    barriers_are_ready();
  }
  __syncthreads();
  if (const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0); warp < kStepWarps) {
    take_registers<kStepRegisters>();
    wait_for_previous_kernel();
    work<kInUnit, kD>(a, smem, base, ring);
    allow_next_kernel();
  } else {
    give_registers<kStepOtherRegisters>();
    if (warp == kStepWarps + 1 && elect_one()) copy_weights<kInUnit>(a, base, ring);
    if (warp == kStepWarps + 3) return;
    wait_for_previous_kernel();
    if (warp == kStepWarps) finish_tiles(a, smem, base);
    if (warp == kStepWarps + 2) fetch_beside(a, smem, base);
    allow_next_kernel();
  }
}

constexpr int align_up(int a, int to) { return (a + to - 1) / to * to; }

int ring_place(const TokenStepArgs& a) {
  int x = a.attention.head_dim <= 64 ? StepAttentionShape<64>::kBytes : StepAttentionShape<128>::kBytes;
  for (const StepShape& s : a.shapes) x = std::max(x, step_x_bytes(s.k));
  return align_up(StepSmem::kX + x, 128);
}

// Calls body with the groups of 128 k.
template <class Body>
auto with_groups(int group, Body&& body) {
  if (group == 32) return body(std::integral_constant<int, 4>());
  if (group == 64) return body(std::integral_constant<int, 2>());
  return body(std::integral_constant<int, 1>());
}

}  // namespace

int token_step_smem(const TokenStepArgs& a, int stages) {
  return ring_place(a) + stages * with_groups(a.group, [](auto in_unit) { return StepStage<in_unit()>::kBytes; });
}

cudaError_t launch_token_step(const TokenStepArgs& a, const LaunchTarget& on) {
  return with_groups(a.group, [&](auto in_unit) {
    const auto kernel = a.attention.head_dim <= 64 ? token_step<in_unit(), 64> : token_step<in_unit(), 128>;
    return launch_cooperative(kernel, dim3(static_cast<unsigned>(a.grid)), kStepBlockThreads,
                              static_cast<size_t>(token_step_smem(a, a.stages)), on.stream, a, ring_place(a));
  });
}

}  // namespace awq::backend::cuda
