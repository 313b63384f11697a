// The weights of a token step on their way: one lane copies them into the ring, eight warps multiply, one warp
// finishes.
//
//   y = sum over groups of  s 2^24 (sum q 2^-24 x)  -  s z (sum x)        one token
//
// A tile is 16 rows and all of k, which the blocks of the grid take in turn: 256 tiles for n = 4096, 1.94 a block of
// 132, so 3 % of the time is lost where they do not come out even, and no block needs another's sums. The eight columns
// of the product (fragments.cuh: mma) all hold the one token, so no lane has to mask anything.
//
// Bytes of a stage 8,192 + scales and zero points; an SM gets 20 a cycle (4.7 TB/s, 132 SMs, 1.75 GHz), so a stage may
// take 420 cycles. A warp has 256 k of every other stage: 32 masks of two cycles and 16 products of 6.3, on each of
// four schedulers for two warps.
#pragma once
#include "backend/cuda/run/block_sum.cuh"
#include "backend/cuda/run/token_step_grid.cuh"

namespace awq::backend::cuda {

// ---- copying ----

__device__ __forceinline__ void prefetch_maps(const StepMaps& maps) {
  prefetch_map(&maps.qweight), prefetch_map(&maps.scales), prefetch_map(&maps.zeros);
}

// Runs in one lane, and never waits for a result: only for room.
template <int kInUnit>
__device__ __forceinline__ void copy_weights(const TokenStepArgs& a, uint32_t smem, uint32_t ring) {
  using Stage = StepStage<kInUnit>;
  RingPosition at{0, 1};  // an untouched barrier counts as passed
  for (int layer = 0; layer < a.layers; ++layer)
    for (int linear = 0; linear < kStepLinears; ++linear) {
      const StepMaps& maps = a.blocks[layer].maps[linear];
      if (linear + 1 < kStepLinears)
        prefetch_maps(a.blocks[layer].maps[linear + 1]);
      else if (layer + 1 < a.layers)
        prefetch_maps(a.blocks[layer + 1].maps[0]);
      const int stages = step_stages(a.shapes[linear]);
      for_each_tile(a.shapes[linear], [&](int tile, int) {
        const int row_block = tile / 4, quarter = tile % 4;
        for (int s = 0; s < stages; ++s) {
          const uint32_t full = smem + StepSmem::kFull + 8 * at.slot, to = ring + at.slot * Stage::kBytes;
          barrier_wait(smem + StepSmem::kEmpty + 8 * at.slot, at.parity);
          barrier_expect(full, Stage::kBytes);
          tensor_copy(to, &maps.qweight, quarter * 64, s * (kStepK / kTileK), row_block, full, kEvictFirst);
          tensor_copy(to + Stage::kScales, &maps.scales, quarter * 16, s * Stage::kGroups, row_block, full,
                      kEvictFirst);
          tensor_copy(to + Stage::kZeros, &maps.zeros, quarter / 2 * 16, s * Stage::kGroups, row_block, full,
                      kEvictFirst);
          at.advance(a.stages);
        }
      });
    }
}

// ---- x ----

// Eight numbers of x, k = 8 octet and following, to their places; their sums over groups too. Lanes have consecutive
// octets, and every lane of the warp takes part.
template <int kInUnit>
struct StepX {
  static constexpr int kOctets = kPadK / kInUnit / 8;  // a group
  uint32_t* pairs;
  float* sums;
  int octets;

  __device__ StepX(unsigned char* smem, int k)
      : pairs(reinterpret_cast<uint32_t*>(smem + StepSmem::kX)),
        sums(reinterpret_cast<float*>(smem + StepSmem::kX + step_x_bytes(k))),
        octets(step_units(k) * kPadK / 8) {}

  __device__ __forceinline__ void put(int octet, const uint4& v) const {
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
    float sum = 0.f;
#pragma unroll
    for (int t = 0; t < 4; ++t) {
      if (octet < octets) pairs[octet / 8 * 32 + t * 8 + octet % 8] = words[t];
      const float2 both = __half22float2(as_half2(words[t]));
      sum += both.x + both.y;
    }
#pragma unroll
    for (int step = 1; step < kOctets; step *= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (octet % kOctets == 0 && octet < octets) sums[octet / kOctets] = sum;
  }
};

// x is f16 as it stands.
template <class X>
__device__ __forceinline__ void copy_x(const X& x, const __half* from, int k) {
  constexpr int kAtOnce = 4;
  for (int first = threadIdx.x; first - static_cast<int>(threadIdx.x) < x.octets; first += kAtOnce * kStepThreads) {
    uint4 v[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int octet = first + i * kStepThreads;
      v[i] = 8 * octet < k ? __ldcg(reinterpret_cast<const uint4*>(from) + octet) : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) x.put(first + i * kStepThreads, v[i]);
  }
}

// x = hidden / sqrt(mean(hidden^2) + eps) * weight. Every block does all of it: 16 KB of L2 cost less than a barrier.
template <class X>
__device__ __forceinline__ void norm_x(const X& x, const float* hidden, const float* weight, int k, float eps,
                                       float* of_warp) {
  float4 v[kNormOctets][2], w[kNormOctets][2];
  float squares = 0.f;
#pragma unroll
  for (int i = 0; i < kNormOctets; ++i)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int at = 2 * (threadIdx.x + i * kStepThreads) + h;
      const bool there = 4 * at < k;
      v[i][h] = there ? __ldcg(reinterpret_cast<const float4*>(hidden) + at) : make_float4(0.f, 0.f, 0.f, 0.f);
      w[i][h] = there ? __ldg(reinterpret_cast<const float4*>(weight) + at) : make_float4(0.f, 0.f, 0.f, 0.f);
    }
#pragma unroll
  for (int i = 0; i < kNormOctets; ++i)
#pragma unroll
    for (int h = 0; h < 2; ++h)
      squares += v[i][h].x * v[i][h].x + v[i][h].y * v[i][h].y + v[i][h].z * v[i][h].z + v[i][h].w * v[i][h].w;
  squares = warp_sum(squares);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = squares;
  named_barrier_sync(1, kStepThreads);
  squares = 0.f;
#pragma unroll
  for (int i = 0; i < kStepWarps; ++i) squares += of_warp[i];
  const float scale = 1.f / sqrtf(squares / static_cast<float>(k) + eps);
#pragma unroll
  for (int i = 0; i < kNormOctets; ++i) {
    if (i * kStepThreads >= x.octets) break;
    uint32_t words[4];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float4 p = v[i][h], q = w[i][h];
      words[2 * h] = bits(__floats2half2_rn(p.x * scale * q.x, p.y * scale * q.y));
      words[2 * h + 1] = bits(__floats2half2_rn(p.z * scale * q.z, p.w * scale * q.w));
    }
    x.put(threadIdx.x + i * kStepThreads, make_uint4(words[0], words[1], words[2], words[3]));
  }
}

// ---- multiplying ----

// What a lane reads in a stage and beside it; addresses in shared memory.
struct UnitAt {
  uint32_t words, x, scales, zeros, sums;
};

// total += 16 rows x 128 k; .x is row lane / 4, .y that + 8. Four chains of products side by side: a product takes 33
// cycles before the next of its chain may start.
template <int kInUnit>
__device__ __forceinline__ void add_unit(const UnitAt& at, float2& total) {
  float part[4][4] = {};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    uint32_t words[4], x[2][4];
    load_shared16(words, at.words + half * kTileBytes);
    load_shared16(x[0], at.x + half * 128);
    load_shared16(x[1], at.x + half * 128 + 16);
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      uint32_t a[4];
      Raw<__half>::word(words[step], a);
      float(&chain)[4] = part[kInUnit == 1 ? step : kInUnit == 2 ? half * 2 + step % 2 : half * 2 + step / 2];
      mma<__half>(chain, a, x[step / 2][step % 2 * 2], x[step / 2][step % 2 * 2 + 1]);
    }
  }
#pragma unroll
  for (int g = 0; g < kInUnit; ++g) {
    constexpr int kChains = 4 / kInUnit;
    float upper = part[g * kChains][0], lower = part[g * kChains][2];
#pragma unroll
    for (int c = 1; c < kChains; ++c) upper += part[g * kChains + c][0], lower += part[g * kChains + c][2];
    const float2 scale = __half22float2(as_half2(load_shared32(at.scales + g * 32)));
    const uint32_t z = load_shared_u8(at.zeros + g * 16);
    const float xs = __uint_as_float(load_shared32(at.sums + g * 4));
    // The integers were q * 2^-24 in the upper row, q * 2^-20 in the lower one.
    total.x = fmaf(scale.x * 0x1p24f, upper, fmaf(-scale.x * static_cast<float>(z & 15), xs, total.x));
    total.y = fmaf(scale.y * 0x1p20f, lower, fmaf(-scale.y * static_cast<float>(z >> 4), xs, total.y));
  }
}

// The two groups of four warps take alternate stages, so that one multiplies while the other waits; a warp has 512 k of
// each. `next`: this group's next stage, counted from the tile's first.
struct StepTurn {
  RingPosition at;
  int next;
  int sums = 0;  // tiles left for the finisher
};

template <int kInUnit>
__device__ __forceinline__ void multiply_tiles(const TokenStepArgs& a, const StepShape& shape, uint32_t smem,
                                               uint32_t ring, StepTurn& turn) {
  using Stage = StepStage<kInUnit>;
  const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
  const int stages = step_stages(shape), units = step_units(shape.k);
  constexpr int kUnits = kStepUnits / 4;  // a warp
  const int first_unit = warp % 4 * kUnits;
  const uint32_t x = smem + StepSmem::kX + lane % 4 * 32, sums = smem + StepSmem::kX + step_x_bytes(shape.k);
  for_each_tile(shape, [&](int tile, int) {
    float2 total = make_float2(0.f, 0.f);
    for (; turn.next < stages; turn.next += 2) {
      const uint32_t stage = ring + turn.at.slot * Stage::kBytes;
      barrier_wait(smem + StepSmem::kFull + 8 * turn.at.slot, turn.at.parity);
#pragma unroll
      for (int i = 0; i < kUnits; ++i) {
        const int in_stage = first_unit + i, unit = turn.next * kStepUnits + in_stage;
        if (unit >= units) break;
        add_unit<kInUnit>({.words = stage + in_stage * 2 * kTileBytes + lane * 16,
                           .x = x + unit * 256,
                           .scales = stage + Stage::kScales + in_stage * kInUnit * 32 + lane / 4 * 4,
                           .zeros = stage + Stage::kZeros + in_stage * kInUnit * 16 + tile % 2 * 8 + lane / 4,
                           .sums = sums + unit * kInUnit * 4},
                          total);
      }
      __syncwarp();
      if (lane == 0) barrier_arrive(smem + StepSmem::kEmpty + 8 * turn.at.slot);
      turn.at.advance(a.stages), turn.at.advance(a.stages);
    }
    turn.next -= stages;
    const int slot = turn.sums % kStepSums;
    barrier_wait(smem + StepSmem::kTileFree + 8 * slot, 1 ^ turn.sums / kStepSums % 2);
    if (lane % 4 == 0) {
      const uint32_t to = smem + StepSmem::kSums + (slot * kStepWarps + warp) * 64 + lane / 4 * 4;
      store_shared_float(to, total.x), store_shared_float(to + 32, total.y);
    }
    __syncwarp();
    if (lane == 0) barrier_arrive(smem + StepSmem::kTileFull + 8 * slot);
    ++turn.sums;
  });
}

}  // namespace awq::backend::cuda
