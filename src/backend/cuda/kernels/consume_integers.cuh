// Few tokens: the weights enter the product as integers, on mma.sync.
//
//   y = sum over groups of  s 2^24 (sum q 2^-24 x)  -  s z (sum x)
//
// A masked nibble is a subnormal half (fragments.cuh: Raw), five instructions for eight weights, so a word costs half
// of what it does in consume_scaled.cuh; in return every sum takes two multiply-adds a group. By itself a step of
// 64 rows x 16 k takes wgmma 13 cycles for 8 or 16 tokens, 16 for 32 and 32 for 64, mma.sync 6.1 for every 8 tokens:
// half as long at 8 tokens, as long at 16, longer at 32. Measured on one H200, 28672 x 4096, against wgmma: m = 8 17.5
// us against 24.5, m = 16 19.4 against 24.5, m = 32 28.0 against 24.2.
//
// Cycles a scheduler and 16 rows x 128 k, two warps, from shared memory, without the sums of x: 8 tokens 137 (50 of
// them the products), 16 tokens 178 (100), 32 tokens 297 (200); most of the rest is masking, two cycles an instruction.
// Memory gives 240 to 250.
#pragma once
#include "backend/cuda/kernels/split_tiles.cuh"

namespace awq::backend::cuda {

// Sums of x over the kChunks times 64 k at `x`: [token] floats at `to`. The tensor cores do it, x being the first
// operand (16 tokens; of 8 tokens, 16 k beside 16 k) and a matrix of ones the second: half as many products as the
// other way round. One warp, all lanes. All loads come first, and the chains of products are short and run side by
// side.
template <int kTokens, int kChunks>
__device__ __forceinline__ void sum_x(uint32_t x, uint32_t to) {
  constexpr int kColumns = kTokens / 8, kPairs = 2 * kChunks;  // of 16 k
  constexpr uint32_t kOnes = 0x3c003c00;
  const int lane = threadIdx.x % 32;
  uint32_t b[kPairs][kColumns][4];
#pragma unroll
  for (int pair = 0; pair < kPairs; ++pair)
#pragma unroll
    for (int j = 0; j < kColumns; ++j)  // 16-byte pieces of a row lie at their index xor the row's
      ldmatrix4(b[pair][j], x + pair / 2 * kTokens * 128 + (j * 8 + lane % 8) * 128 +
                                ((pair % 2 * 4 + lane / 8) ^ (lane % 8)) * 16);
  float d[kPairs][4] = {};
#pragma unroll
  for (int pair = 0; pair < kPairs; ++pair) {
    const uint32_t(&v)[4] = b[pair][0];
    if constexpr (kColumns == 1) {
      const uint32_t a[4] = {v[0], v[2], v[1], v[3]};
      mma<__half>(d[pair], a, kOnes, kOnes);
    } else {
      const uint32_t(&next)[4] = b[pair][1];
#pragma unroll
      for (int step = 0; step < 4; step += 2) {
        const uint32_t a[4] = {v[step], next[step], v[step + 1], next[step + 1]};
        mma<__half>(d[pair], a, kOnes, kOnes);
      }
    }
  }
  float upper = 0.f, lower = 0.f;  // rows lane / 4 and 8 further of the first operand
#pragma unroll
  for (int pair = 0; pair < kPairs; ++pair) upper += d[pair][0], lower += d[pair][2];
  if constexpr (kColumns == 1) upper += lower;
  if (const int j = lane % 4; j < kColumns) store_shared_float(to + (j * 8 + lane / 4) * 4, j == 0 ? upper : lower);
}

// Scales and zero points of a stage, as the multiply-adds want them: for every pair of rows r and r + 8 and group
// {s 2^24 of r, s 2^20 of r + 8, -s z of r, -s z of r + 8}, in the order of the scales. (The integers were q 2^-24 in
// the upper row, q 2^-20 in the lower one.) Made once, and not by every lane that needs them.
template <class Shape>
struct Factors {
  static constexpr int kPairs = Shape::kRowBlocks * Shape::kGroups;
  uint32_t s[kPairs], z[kPairs];

  __device__ __forceinline__ void load(uint32_t stage) {
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      const uint32_t pair = i * 32 + threadIdx.x % 32;
      s[i] = load_shared32(stage + Shape::kScales + pair * 4);
      z[i] = load_shared_u8(stage + Shape::kZeros + pair);
    }
  }
  __device__ __forceinline__ void store(uint32_t to) const {
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      const float2 scale = __half22float2(as_half2(s[i]));
      const float factors[4] = {scale.x * 0x1p24f, scale.y * 0x1p20f, -scale.x * float(z[i] & 15),
                                -scale.y * float(z[i] >> 4)};
      store_shared16(to + (i * 32 + threadIdx.x % 32) * 16, factors);
    }
  }
};

// What the `turns` warps beside those that multiply do, a stage each: sums of x and factors. A stage is a chain of
// latencies; when two warps did half of every stage it was the bound of the whole kernel (12288 x 4096, m = 16: 11.2
// us, then 10.6). With four warps every scheduler has one: 2 % quicker than with two at 4096 x 4096 and 6144 x 4096 (m
// = 16), as the warps that multiply wait for the slowest scheduler.
template <class Shape>
__device__ __forceinline__ void prepare_stages(const PipelineParams& p, const Memory& memory, int first, int turns) {
  constexpr int kTokens = Shape::kTokens, kSums = Shape::kSums, kChunks = 2 / Shape::kGroups;
  RingPosition at{first, 0};
  int next = first;  // this warp's next stage, counted from the work's first
  Work work{};
  for (int w = 0; work.next(p, w); ++w) {
    for (; next < work.count; next += turns) {
      barrier_wait(memory.full + 8 * at.slot, at.parity);
      const uint32_t stage = memory.ring + at.slot * Shape::kStage;
      Factors<Shape> made;
      made.load(stage);
#pragma unroll
      for (int i = 0; i < kSums; ++i)
        sum_x<kTokens, kChunks>(stage + i * kChunks * Shape::kXBox,
                                memory.full + Shape::kXSums + (at.slot * kSums + i) * kTokens * 4);
      made.store(memory.full + Shape::factors_at(p.stages) + at.slot * Shape::kFactors);
      barrier_arrive(memory.summed() + 8 * at.slot);  // every lane, for what it wrote itself
      __syncwarp();
      if (threadIdx.x % 32 == 0) barrier_arrive(memory.empty() + 8 * at.slot);
      at.advance(p.stages, turns);
    }
    next -= work.count;
  }
}

// total (all row blocks, this warpgroup's stages) -> mine (its own row blocks, all stages), through shared memory at
// `buffer`: [warpgroup that receives][block][4 sums][thread] of 16 bytes.
template <class Shape, int kValues>
__device__ __forceinline__ void exchange_sums(uint32_t buffer, int group,
                                              const float (&total)[Shape::kRowBlocks][kValues],
                                              float (&mine)[Shape::kBlocks][kValues]) {
  constexpr int kVectors = kValues / 4, kStep = 128 * 16, kPart = Shape::kBlocks * kVectors * kStep;
  const uint32_t at = buffer + threadIdx.x % 128 * 16, to = at + (1 - group) * kPart, from = at + group * kPart;
  consumers_sync(Shape::kConsumerThreads);  // the work before has been read
#pragma unroll
  for (int b = 0; b < Shape::kBlocks; ++b)
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      float give[4];
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float low = total[b][4 * v + e], high = total[Shape::kBlocks + b][4 * v + e];
        give[e] = group == 0 ? high : low, mine[b][4 * v + e] = group == 0 ? low : high;
      }
      store_shared16(to + (b * kVectors + v) * kStep, give);
    }
  consumers_sync(Shape::kConsumerThreads);
#pragma unroll
  for (int b = 0; b < Shape::kBlocks; ++b)
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      uint32_t r[4];
      load_shared16(r, from + (b * kVectors + v) * kStep);
#pragma unroll
      for (int e = 0; e < 4; ++e) mine[b][4 * v + e] += __uint_as_float(r[e]);
    }
}

// The two warpgroups take alternate stages, so that one multiplies while the other waits for its words, for its sums of
// x or for the end of its chain; a warp has 16 rows of every row block of the tile (one of the two parts of k where a
// stage has two). At the end of a work they exchange sums and each finishes its own row blocks.
template <class T, class Shape>
__device__ __forceinline__ void consume_integers(const PipelineParams& p, const Epilogue<T>& epilogue,
                                                 const Memory& memory) {
  constexpr int kTokens = Shape::kTokens, kBlocks = Shape::kRowBlocks, kGroups = Shape::kGroups, kColumns = kTokens / 8;
  const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
  const int group = warp / 4;
  // With two parts a stage, each is two warps', which have two times 16 rows of every half row block.
  constexpr int kParts = Shape::kParts, kChunk = 2048 / kParts;
  const int part_of = warp % kParts, tile = warp % 4 / kParts;
  const uint32_t word_at = kept(Shape::kXBytes + part_of * 2 * kChunk + tile * 512 + lane * 16);
  const uint32_t factors_at =
      kept(memory.full + Shape::factors_at(p.stages) + part_of * kGroups * 256 + tile * 128 + lane / 4 * 16);
  const uint32_t sums_at = kept(memory.full + Shape::kXSums + part_of * kGroups * kTokens * 4 + lane % 4 * 8);
  uint32_t x_at[2];  // 16-byte pieces of a row of x lie at their index xor the row's
#pragma unroll
  for (int pair = 0; pair < 2; ++pair)
    x_at[pair] = kept(part_of * 2 * Shape::kXBox + lane % 8 * 128 + ((pair * 4 + lane / 8) ^ (lane % 8)) * 16);
  RingPosition at{group, 0};
  int next = group;  // this warpgroup's next stage, counted from the work's first
  Work work{};
  for (int w = 0; work.next(p, w); ++w) {
    float total[kBlocks][kTokens / 2] = {};
    for (; next < work.count; next += 2) {
      const uint32_t stage = memory.ring + at.slot * Shape::kStage;
      float part[kBlocks][kColumns][4];
      barrier_wait(memory.full + 8 * at.slot, at.parity);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t words[kBlocks][4];
#pragma unroll
        for (int b = 0; b < kBlocks; ++b) load_shared16(words[b], stage + word_at + b * 4096 + half * kChunk);
        if (half == 0 || kGroups == 2)
#pragma unroll
          for (int b = 0; b < kBlocks; ++b)
#pragma unroll
            for (int j = 0; j < kColumns; ++j)
#pragma unroll
              for (int e = 0; e < 4; ++e) part[b][j][e] = 0.f;
#pragma unroll
        for (int pair = 0; pair < 2; ++pair) {
          uint32_t x[kColumns][4];
#pragma unroll
          for (int j = 0; j < kColumns; ++j) ldmatrix4(x[j], stage + half * Shape::kXBox + j * 1024 + x_at[pair]);
#pragma unroll
          for (int step = 0; step < 2; ++step)
#pragma unroll
            for (int b = 0; b < kBlocks; ++b) {
              uint32_t a[4];
              Raw<T>::word(words[b][pair * 2 + step], a);
#pragma unroll
              for (int j = 0; j < kColumns; ++j) mma<T>(part[b][j], a, x[j][step * 2], x[j][step * 2 + 1]);
            }
        }
        if (half == 0 && kGroups == 1) continue;
        const int g = kGroups == 2 ? half : 0;
        if (half == 0 || kGroups == 1) barrier_wait(memory.summed() + 8 * at.slot, at.parity);
        float2 xs[kColumns];
#pragma unroll
        for (int j = 0; j < kColumns; ++j)
          xs[j] = load_shared_float2(sums_at + (at.slot * Shape::kSums * kTokens + g * kTokens + j * 8) * 4);
#pragma unroll
        for (int b = 0; b < kBlocks; ++b) {
          uint32_t f[4];
          load_shared16(f, factors_at + at.slot * Shape::kFactors + b * kGroups * 512 + g * (512 / kParts));
          const float2 factor = make_float2(__uint_as_float(f[0]), __uint_as_float(f[1]));
          const float2 minus_zero = make_float2(__uint_as_float(f[2]), __uint_as_float(f[3]));
#pragma unroll
          for (int j = 0; j < kColumns; ++j)
#pragma unroll
            for (int e = 0; e < 4; ++e) {
              float& sum = total[b][4 * j + e];
              sum = fmaf(e < 2 ? factor.x : factor.y, part[b][j][e], sum);
              sum = fmaf(e < 2 ? minus_zero.x : minus_zero.y, e % 2 == 0 ? xs[j].x : xs[j].y, sum);
            }
        }
      }
      // Every lane: what is written next over the sums and factors that it read is no copy.
      barrier_arrive(memory.empty() + 8 * at.slot);
      at.advance(p.stages, 2);
    }
    next -= work.count;
    float mine[Shape::kBlocks][kTokens / 2];
    const uint32_t buffer = memory.full + Shape::exchange_at(p.stages);
    if constexpr (kParts == 1)
      exchange_sums<Shape>(buffer, group, total, mine);
    else if (!gather_sums<Shape>(buffer, warp, 2 * part_of + group, tile, 2, total, mine))
      continue;
    finish_work<Shape>(p, epilogue, work, memory, mine, warp);
  }
}

}  // namespace awq::backend::cuda
