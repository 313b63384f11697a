// token_step -- all blocks of a model for one token, in one cooperative launch of a block an SM.
//
//   for every block of the model   q k v = W norm(hidden)          | grid
//                                  attended = attention(q k v)     | grid
//                                  hidden += W attended            | grid
//                                  activated = silu(gate) up       | grid
//                                  hidden += W activated           | grid
//
// Launched one by one, a block of Llama-3-8B is eight kernels, each of which fills and drains the memory's pipeline: 54
// % of its bandwidth (docs/performance.md). Here the weights stream on through a ring of 184 KB an SM, 24.9 MB of an
// H200, 5.3 us of its bandwidth: longer, it is expected, than a barrier of the grid and what stands behind it. Not run
// on a GPU yet.
//
//   bytes a token      weights + 4 c d kv_heads layers; 3.6 GB of Llama-3-8B without lm_head, 0.77 ms at 4.7 TB/s
//   warps 0 .. 7       make x, multiply, attend
//   warp 8             sums of a tile over the warps -> bias, residual or gate; arrives at the grid's barrier
//   warp 9             one lane copies weights, never waiting for anything but room
#include <algorithm>

#include "backend/cuda/kernels/launch_kernel.h"
#include "backend/cuda/run/silu.cuh"
#include "backend/cuda/run/token_step_attention.cuh"
#include "backend/cuda/run/token_step_weights.cuh"

namespace awq::backend::cuda {
namespace {

// Warps 0 .. 7.
template <int kInUnit, int kD>
__device__ __forceinline__ void work(const TokenStepArgs& a, unsigned char* smem, uint32_t base, uint32_t ring) {
  const int group = __shfl_sync(~0u, threadIdx.x / 128, 0);
  StepTurn turn{.at = {group, 0}, .next = group};
  for (int layer = 0; layer < a.layers; ++layer) {
    const StepBlock& block = a.blocks[layer];
    for (int linear = 0; linear < kStepLinears; ++linear) {
      if (linear == kStepO) StepAttention<kD>(a, block, layer, smem).run();
      const StepShape& shape = a.shapes[linear];
      if (static_cast<int>(blockIdx.x) >= shape.items) continue;
      if (threadIdx.x == 0) wait_for_grid(a, layer, barrier_before(linear));
      named_barrier_sync(1, kStepThreads);  // nobody reads the x of before any more, either
      const StepX<kInUnit> x(smem, shape.k);
      if (block.norm[linear] != nullptr)
        norm_x(x, a.hidden, block.norm[linear], shape.k, a.norm_eps,
               reinterpret_cast<float*>(smem + StepSmem::kOfWarp));
      else
        copy_x(x, a.x[linear], shape.k);
      named_barrier_sync(1, kStepThreads);
      multiply_tiles<kInUnit>(a, shape, base, ring, turn);
    }
  }
}

// What becomes of a row's sum, in lane `row % 16`. Gate and up come one after the other to the same lane.
struct Finisher {
  const TokenStepArgs& a;
  float gate = 0.f;

  __device__ __forceinline__ float before(int linear, int row) const {
    return linear == kStepO || linear == kStepDown ? __ldcg(a.hidden + row) : 0.f;
  }
  __device__ __forceinline__ void finish(int linear, int row, int part, float before, float sum) {
    if (linear == kStepQkv) a.qkv[row] = __float2half_rn(sum);
    if (linear == kStepO || linear == kStepDown) a.hidden[row] = before + sum;
    if (linear != kStepGateUp) return;
    if (part == 1) a.activated[row - a.shapes[kStepGateUp].items * kTileRows] = __float2half_rn(silu_times(gate, sum));
    gate = sum;
  }
};

// Warp 8.
__device__ __forceinline__ void finish_tiles(const TokenStepArgs& a, const unsigned char* smem, uint32_t base) {
  const int lane = threadIdx.x % 32;
  Finisher finisher{a};
  int tiles = 0;
  for (int layer = 0; layer < a.layers; ++layer)
    for (int linear = 0; linear < kStepLinears; ++linear) {
      const StepShape& shape = a.shapes[linear];
      const __half* const bias = a.blocks[layer].bias[linear];
      for_each_tile(shape, [&](int tile, int part) {
        const int row = tile * kTileRows + lane, slot = tiles % kStepSums;
        const bool mine = lane < kTileRows && row < shape.n;
        const float before = mine ? finisher.before(linear, row) : 0.f;
        float sum = mine && bias != nullptr ? __half2float(bias[row]) : 0.f;
        barrier_wait(base + StepSmem::kTileFull + 8 * slot, tiles / kStepSums % 2);
        const auto* const sums = reinterpret_cast<const float*>(smem + StepSmem::kSums) + slot * kStepWarps * kTileRows;
        for (int warp = 0; warp < kStepWarps; ++warp) sum += sums[warp * kTileRows + lane % kTileRows];
        __syncwarp();
        if (lane == 0) barrier_arrive(base + StepSmem::kTileFree + 8 * slot);
        if (mine) finisher.finish(linear, row, part, before, sum);
        ++tiles;
      });
      __syncwarp();
      if (lane != 0) continue;
      if (static_cast<int>(blockIdx.x) >= shape.items) wait_for_grid(a, layer, barrier_before(linear));
      const bool ends = layer + 1 == a.layers && linear == kStepDown;
      const uint32_t all = static_cast<uint32_t>(kGridBarriers * a.layers) * gridDim.x;
      if (!ends)
        arrive_release(a.arrived);
      else if (arrive_and_count(a.arrived) == all - 1)
        *a.arrived = 0;  // nobody waits any more
    }
}

template <int kInUnit, int kD>
__global__ void __launch_bounds__(kStepBlockThreads, 1)
    token_step(__grid_constant__ const TokenStepArgs a, int ring_at) {
  extern __shared__ __align__(128) unsigned char smem[];
  const uint32_t base = smem_address(smem), ring = base + ring_at;
  if (threadIdx.x == 0) {
    for (int i = 0; i < a.stages; ++i) {
      barrier_init(base + StepSmem::kFull + 8 * i, 1);
      barrier_init(base + StepSmem::kEmpty + 8 * i, kStepWarps / 2);
    }
    for (int i = 0; i < kStepSums; ++i) {
      barrier_init(base + StepSmem::kTileFull + 8 * i, kStepWarps);
      barrier_init(base + StepSmem::kTileFree + 8 * i, 1);
    }
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
    if (warp != kStepWarps) return;
    wait_for_previous_kernel();
    finish_tiles(a, smem, base);
    allow_next_kernel();
  }
}

constexpr int align_up(int a, int to) { return (a + to - 1) / to * to; }

int ring_place(const TokenStepArgs& a) {
  int x = a.attention.head_dim <= 64 ? StepAttentionShape<64>::kBytes : StepAttentionShape<128>::kBytes;
  for (const StepShape& s : a.shapes) x = std::max(x, step_x_bytes(s.k) + step_units(s.k) * kPadK / a.group * 4);
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

cudaError_t launch_token_step(const TokenStepArgs& a, int sms, const LaunchTarget& on) {
  return with_groups(a.group, [&](auto in_unit) {
    const auto kernel = a.attention.head_dim <= 64 ? token_step<in_unit(), 64> : token_step<in_unit(), 128>;
    return launch_cooperative(kernel, dim3(static_cast<unsigned>(sms)), kStepBlockThreads,
                              static_cast<size_t>(token_step_smem(a, a.stages)), on.stream, a, ring_place(a));
  });
}

}  // namespace awq::backend::cuda
