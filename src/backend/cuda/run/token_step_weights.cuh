// The weights of a token step on their way: one lane copies them into the ring, eight warps multiply, one warp
// finishes.
//
//   y = sum over groups of  s 2^24 sum (q - z) 2^-24 x        one token
//
// A tile is 16 rows and all of k, which the blocks of the grid take in turn: 256 tiles for n = 4096, 1.94 a block of
// 132, so 3 % of the time is lost where they do not come out even, and no block needs another's sums. The eight columns
// of the product (fragments.cuh: mma) all hold the one token, so no lane has to mask anything.
//
// Bytes of a stage 32,768 + scales and zero points; an SM gets 17 a cycle (4.6 TB/s, 132 SMs, 1.98 GHz), so a stage may
// take 2,000 cycles. A warp has 512 k of it, a scheduler two warps: 320 instructions of two cycles that mask, 256 that
// subtract and 64 products of 6.3 beside them; 1,600 cycles, measured.
//
// Tried (one H200, 2026-11-22, a block of Llama 3 8B or Llama 2 7B as it was then, us): two groups of four warps that
// take stages of 2048 k in turn, 7B 41.6 for 41.2; stages of 1024 k, 43; tiles of q, k and v or gate and up handed out
// as blocks have room for them, 8B 42.5 for 40.9 (what a block takes ahead is no measure of what it will have to
// multiply, though without products the same is 2 us quicker); four more stages fetched into L2 ahead of the ring, 48;
// no scales and zero points copied, no change; zero points settled by sums of x (s z sum x), as long where x is made.
//
// Every function here is in the kernel once, and loops stay loops: what a block of the model runs through has to stay
// in the instruction cache. With a copy for each linear, 165 KB, an input of 4096 took 3,000 cycles to prepare, not
// 600.
#pragma once
#include "backend/cuda/run/block_sum.cuh"
#include "backend/cuda/run/token_step_exchange.cuh"
#include "backend/cuda/run/token_step_grid.cuh"

namespace awq::backend::cuda {

// ---- copying ----

__device__ __forceinline__ void prefetch_maps(const StepMaps& maps) {
  prefetch_map(&maps.qweight), prefetch_map(&maps.scales), prefetch_map(&maps.zeros);
}
__device__ __forceinline__ void prefetch_norms(const StepBlock& block, int hidden) {
  prefetch_to_l2(block.beside.input_norm, hidden * 4);
  prefetch_to_l2(block.beside.post_attention_norm, hidden * 4);
}

// Runs in one lane, and never waits for a result: only for room. Norms too are in L2 before they are needed.
template <int kInUnit>
__device__ __forceinline__ void copy_weights(const TokenStepArgs& a, uint32_t smem, uint32_t ring) {
  using Stage = StepStage<kInUnit>;
  RingPosition at{0, 1};  // an untouched barrier counts as passed
  for (int layer = 0; layer < a.layers; ++layer) {
    if (layer + 1 < a.layers && layer % gridDim.x == blockIdx.x)
      prefetch_norms(a.blocks[layer + 1], a.shapes[kStepQkv].k);
#pragma unroll 1
    for (int linear = 0; linear < kStepLinears; ++linear) {
      const StepMaps& maps = a.blocks[layer].maps[linear];
      if (linear + 1 < kStepLinears)
        prefetch_maps(a.blocks[layer].maps[linear + 1]);
      else if (layer + 1 < a.layers)
        prefetch_maps(a.blocks[layer + 1].maps[0]);
      const int stages = step_stages(a.shapes[linear].k);
      const BlockTiles tiles(a.shapes[linear]);
#pragma unroll 1
      for (int i = 0; i < tiles.count; ++i) {
        const int row_block = tiles[i] / 4, quarter = tiles[i] % 4;
#pragma unroll 1
        for (int s = 0; s < stages; ++s) {
          const uint32_t full = smem + StepSmem::kFull + 8 * at.slot, to = ring + at.slot * Stage::kBytes;
          const auto copy = [&](uint32_t where, const CUtensorMap* map, int column, int group) {
            tensor_copy(where, map, column, group, row_block, full, kEvictFirst);
          };
          barrier_wait(smem + StepSmem::kEmpty + 8 * at.slot, at.parity);
          barrier_expect(full, Stage::kBytes);
          copy(to, &maps.qweight, quarter * 64, s * (kStepK / kTileK));
          copy(to + Stage::kScales, &maps.scales, quarter * 16, s * Stage::kGroups);
          copy(to + Stage::kZeros, &maps.zeros, quarter / 2 * 16, s * Stage::kGroups);
          at.advance(a.stages);
        }
      }
    }
  }
}

// ---- x ----

// In shared memory, in the order of k, zeros from there to the end of a stage.
__device__ __forceinline__ uint4* place_of_x(unsigned char* smem) {
  return reinterpret_cast<uint4*>(smem + StepSmem::kX);
}

// x is f16 as it stands, from the exchange.
__device__ __forceinline__ void take_x(unsigned char* smem, const __half* from, int k) {
  constexpr int kAtOnce = 8;
  const int octets = k / 8, padded = step_x_bytes(k) / 16;
  const auto* const all = reinterpret_cast<const uint4*>(from);
  wait_for(all + max(octets - 1 - static_cast<int>(threadIdx.x / 32), 0));  // what is made last
#pragma unroll 1
  for (int first = 0; first < padded; first += kAtOnce * kStepThreads) {
    const int mine = first + threadIdx.x;
    uint4 v[kAtOnce];
    receive(v, all + mine, kStepThreads, octets - mine);
    if (first == 0) meet();  // nobody reads the x of before any more
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
      if (first + i * kStepThreads < padded) place_of_x(smem)[mine + i * kStepThreads] = v[i];
  }
}

// x = hidden / sqrt(mean(hidden^2) + eps) * weight; hidden is in the exchange or, in front of the first block, in
// memory. Every block of the grid does all of it: 16 KB of L2 cost less than another exchange. A thread has the four
// numbers from 4 (thread + i kStepThreads).
template <int kQuads>
__device__ __forceinline__ void norm_x(unsigned char* smem, const float* hidden, bool in_exchange, const float* weight,
                                       int k, float eps) {
  const int quads = k / 4 - threadIdx.x;
  const auto number = [](const uint4& four, int e) { return __uint_as_float(word(four, e)); };
  uint4 v[kQuads], w[kQuads];
#pragma unroll
  for (int i = 0; i < kQuads; ++i) {
    w[i] = make_uint4(0, 0, 0, 0);
    if (i * kStepThreads < quads) w[i] = __ldg(reinterpret_cast<const uint4*>(weight) + threadIdx.x + i * kStepThreads);
  }
  const auto* const all = reinterpret_cast<const uint4*>(hidden);
  if (in_exchange) wait_for(all + max(k / 4 - 1 - static_cast<int>(threadIdx.x / 32), 0));  // what is made last
  receive(v, all + threadIdx.x, kStepThreads, quads, in_exchange);
  float squares = 0.f;
#pragma unroll
  for (int i = 0; i < kQuads; ++i)
#pragma unroll
    for (int e = 0; e < 4; ++e) squares += number(v[i], e) * number(v[i], e);
  squares = warp_sum(squares);
  auto* const of_warp = reinterpret_cast<float*>(smem + StepSmem::kOfWarp);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = squares;
  meet();  // and nobody reads the x of before any more
  squares = 0.f;
#pragma unroll
  for (int i = 0; i < kStepWarps; ++i) squares += of_warp[i];
  const float scale = rsqrtf(__fdividef(squares, static_cast<float>(k)) + eps);
  auto* const to = reinterpret_cast<uint2*>(place_of_x(smem)) + threadIdx.x;
  const int rounds = step_x_bytes(k) / 8 / kStepThreads;
#pragma unroll
  for (int i = 0; i < kQuads; ++i) {
    const auto x = [&](int e) { return number(v[i], e) * scale * number(w[i], e); };
    if (i < rounds)
      to[i * kStepThreads] = make_uint2(bits(__floats2half2_rn(x(0), x(1))), bits(__floats2half2_rn(x(2), x(3))));
  }
}

// ---- multiplying ----

// Where a lane's part of 16 rows x 128 k lies, and what is beside it; addresses in shared memory.
struct UnitAt {
  uint32_t words, x, scales, zeros;
};

// That part, on its way from shared memory.
template <int kInUnit>
struct Unit {
  uint32_t words[2][4], x[4][4], scales[kInUnit], zeros[kInUnit];

  // Of x, ldmatrix reads eight numbers where it would read eight rows of them: all columns are the one token.
  __device__ __forceinline__ void load(const UnitAt& at) {
    load_shared16(words[0], at.words);
    load_shared16(words[1], at.words + kTileBytes);
#pragma unroll
    for (int i = 0; i < 4; ++i) ldmatrix4(x[i], at.x + i * 64);
#pragma unroll
    for (int g = 0; g < kInUnit; ++g) {
      scales[g] = load_shared32(at.scales + g * 32);
      zeros[g] = load_shared_u8(at.zeros + g * 16);
    }
  }

  // total += 16 rows x 128 k; .x is row lane / 4, .y that + 8. Four chains of products side by side: a product takes 33
  // cycles before the next of its chain may start. The upper row's integers are subnormal halves q 2^-24, the lower
  // one's q 2^-20: the zero point, as bits, is one too, and subtracting them is exact.
  __device__ __forceinline__ void add_to(float2& total) const {
    constexpr int kChains = 4 / kInUnit;
    float part[4][4] = {};
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int step = 0; step < 4; ++step) {
        const int g = kInUnit == 1 ? 0 : kInUnit == 2 ? half : half * 2 + step / 2;
        const uint32_t upper = (zeros[g] & 0x0f) * 0x00010001, lower = (zeros[g] & 0xf0) * 0x00010001;
        uint32_t a[4];
        Raw<__half>::word(words[half][step], a);
#pragma unroll
        for (int i = 0; i < 4; ++i) a[i] = bits(__hsub2(as_half2(a[i]), as_half2(i % 2 == 0 ? upper : lower)));
        const uint32_t(&b)[4] = x[2 * half + step / 2];
        mma<__half>(part[g * kChains + step % kChains], a, b[step % 2 * 2], b[step % 2 * 2 + 1]);
      }
#pragma unroll
    for (int g = 0; g < kInUnit; ++g) {
      float upper = part[g * kChains][0], lower = part[g * kChains][2];
#pragma unroll
      for (int c = 1; c < kChains; ++c) upper += part[g * kChains + c][0], lower += part[g * kChains + c][2];
      const float2 scale = __half22float2(as_half2(scales[g]));
      total.x = fmaf(scale.x * 0x1p24f, upper, total.x);
      total.y = fmaf(scale.y * 0x1p20f, lower, total.y);
    }
  }
};

// What the warps that multiply are at. A warp has every eighth unit of 128 k of a stage.
struct StepTurn {
  RingPosition at{0, 0};
  int sums = 0;  // tiles left for the finisher
};

// `total` of a tile, to the finisher.
__device__ __forceinline__ void hand_over(uint32_t smem, int warp, int lane, float2 total, int& sums) {
  const int slot = sums % kStepSums;
  barrier_wait(smem + StepSmem::kTileFree + 8 * slot, 1 ^ sums / kStepSums % 2);
  if (lane % 4 == 0) {
    const uint32_t to = smem + StepSmem::kSums + (slot * kStepWarps + warp) * 64 + lane / 4 * 4;
    store_shared_float(to, total.x), store_shared_float(to + 32, total.y);
  }
  __syncwarp();
  if (lane == 0) barrier_arrive(smem + StepSmem::kTileFull + 8 * slot);
  ++sums;
}

template <int kInUnit>
__device__ __forceinline__ void multiply_tiles(const TokenStepArgs& a, const StepShape& shape, uint32_t smem,
                                               uint32_t ring, StepTurn& turn) {
  using Stage = StepStage<kInUnit>;
  constexpr int kUnits = kStepUnits / kStepWarps;
  const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
  const int stages = step_stages(shape.k), units = (shape.k + kPadK - 1) / kPadK;
  const uint32_t x = smem + StepSmem::kX + lane / 8 * 16;
  const BlockTiles tiles(shape);
#pragma unroll 1
  for (int i = 0; i < tiles.count; ++i) {
    float2 total = make_float2(0.f, 0.f);
    const int odd = tiles[i] % 2;
#pragma unroll 1
    for (int s = 0; s < stages; ++s) {
      const uint32_t stage = ring + turn.at.slot * Stage::kBytes;
      barrier_wait(smem + StepSmem::kFull + 8 * turn.at.slot, turn.at.parity);
      const auto at = [&](int u) {
        const int in_stage = u * kStepWarps + warp;
        return UnitAt{.words = stage + in_stage * 2 * kTileBytes + lane * 16,
                      .x = x + (s * kStepUnits + in_stage) * 256,
                      .scales = stage + Stage::kScales + in_stage * kInUnit * 32 + lane / 4 * 4,
                      .zeros = stage + Stage::kZeros + in_stage * kInUnit * 16 + odd * 8 + lane / 4};
      };
      const int here = (units - s * kStepUnits - warp + kStepWarps - 1) / kStepWarps;
      Unit<kInUnit> unit[2];
      if (here >= kUnits) {
        unit[0].load(at(0));
#pragma unroll
        for (int u = 0; u < kUnits; ++u) {  // one on its way while the one before is multiplied
          if (u + 1 < kUnits) unit[(u + 1) % 2].load(at(u + 1));
          unit[u % 2].add_to(total);
        }
      } else {
#pragma unroll 1
        for (int u = 0; u < here; ++u) {  // the end of k
          unit[0].load(at(u));
          unit[0].add_to(total);
        }
      }
      __syncwarp();
      if (lane == 0) barrier_arrive(smem + StepSmem::kEmpty + 8 * turn.at.slot);
      turn.at.advance(a.stages);
    }
    hand_over(smem, warp, lane, total, turn.sums);
  }
}

}  // namespace awq::backend::cuda
