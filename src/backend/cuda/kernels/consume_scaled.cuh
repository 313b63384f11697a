// Many tokens: weights are dequantized into operand A of wgmma, 64 rows a warpgroup; x, in shared memory, is operand B.
//
// Per 64 k: one 16-byte load of shared memory a lane, four words dequantized, four wgmma. Two register sets alternate,
// so that dequantizing 64 k overlaps the products of the 64 k before; where registers allow, the
// next stage is loaded meanwhile. w = half(s (q - z)), rounded once: a float scale per sum would need a second set of
// sums. A word of 8 weights costs 13 instructions a warp for kTokens / 2 cycles of wgmma (measured by itself; with the
// weights in shared memory 24 for 32 tokens, not 16). Up to 64 tokens it is issuing those that bounds, not memory.
//
// Roofline: bytes n k / 2 (+ 4 % scales) at 4.31 TB/s against 2 m n k flop at 790 TFLOP/s (H200, measured): equal at m
// = 47. x is read from L2 by every row block: 256 rows x 128 tokens move 24 KB a stage of 64 k where 128 x 256
// moves 36.
#pragma once
#include "backend/cuda/kernels/split_tiles.cuh"

namespace awq::backend::cuda {

template <class T>
__device__ __forceinline__ uint32_t scaled_once(uint32_t a, float s, uint32_t s2) {
  if constexpr (std::is_same_v<T, __half>) {
    return bits(__hmul2(as_half2(a), as_half2(s2)));
  } else {
    const float low = __uint_as_float(a << 16) * s, high = __uint_as_float(a & 0xffff0000) * s;
    return bits(__floats2bfloat162_rn(low, high));
  }
}

// Scales and zero points of a lane's two rows, in the forms that a word of their weights takes.
template <class T>
struct RowScales {
  Zeros zeros;
  float2 scale;
  uint32_t upper, lower;

  // `s`: two halves; `z`: two nibbles.
  __device__ __forceinline__ void set(uint32_t s, uint32_t z) {
    zeros = Dequantize<T>::zeros(z);
    scale = __half22float2(as_half2(s));
    upper = __byte_perm(s, s, 0x1010), lower = __byte_perm(s, s, 0x3232);
  }
  __device__ __forceinline__ void word(uint32_t w, uint32_t (&out)[4]) const {
    Dequantize<T>::word(w, zeros, out);
#pragma unroll
    for (int e = 0; e < 4; ++e)
      out[e] = scaled_once<T>(out[e], e % 2 == 0 ? scale.x : scale.y, e % 2 == 0 ? upper : lower);
  }
};

template <class T, class Shape>
__device__ __forceinline__ void consume_scaled(const PipelineParams& p, const Epilogue<T>& epilogue,
                                               const Memory& memory, const CUtensorMap* y) {
  constexpr int kTokens = Shape::kTokens, kBlocks = Shape::kWarpTiles, kGroups = Shape::kGroups;
  constexpr int kPerChunk = kGroups == 4 ? 2 : 1, kChunks = Shape::kChunks;
  // Two parts a stage: each warpgroup has all rows and one part; the tile's 16 rows i are tile i % 2 of half row block
  // i / 2. Bytes of a chunk in a row block or half of one; blocks from one of a warp's to the next.
  constexpr int kParts = Shape::kParts, kChunk = 2048 / kParts, kStep = kParts;
  constexpr int kBlockBytes = kChunks * kChunk, kBlockPairs = Shape::kStageGroups * 32 / kParts;
  // While the last products of a stage run, the next one is waited for and loaded, where registers allow.
  constexpr bool kAhead = kTokens * kBlocks <= 128 && kGroups == 1;
  const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
  const int part = kParts == 1 ? 0 : warp / 4, block0 = kParts == 1 ? warp / 4 * kBlocks : warp % 4 / 2;
  const int tile = warp % (4 / kParts);
  const uint32_t word_at = kept(Shape::kXBytes + block0 * kBlockBytes + part * 2 * kChunk + tile * 512 + lane * 16);
  const uint32_t pair_at = block0 * kBlockPairs + part * kGroups * 16 + tile * 8 + lane / 4;
  const uint32_t scale_at = kept(Shape::kScales + pair_at * 4), zero_at = kept(Shape::kZeros + pair_at);
  float sum[kBlocks][kTokens / 2];
  uint32_t a[2][kBlocks][4][4];  // [set][row block][step][register]
  uint32_t words[2][kBlocks][4], s[kBlocks], z[kBlocks];
  RowScales<T> scales[kBlocks];
  const auto load_words = [&](uint32_t stage, int chunk) {
#pragma unroll
    for (int b = 0; b < kBlocks; ++b)
      load_shared16(words[chunk][b], stage + word_at + b * kStep * kBlockBytes + chunk % kChunks * kChunk);
  };
  const auto load_scales = [&](uint32_t stage, int g) {
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
      const int pairs = b * kStep * kBlockPairs + g * (32 / kParts);
      s[b] = load_shared32(stage + scale_at + pairs * 4);
      z[b] = load_shared_u8(stage + zero_at + pairs);
    }
  };
  RingPosition at{0, 0};  // the next stage
  uint32_t stage = 0;
  const auto arrive = [&] {
    stage = memory.ring + at.slot * Shape::kStage;
    barrier_wait(memory.full + 8 * at.slot, at.parity);
    if constexpr (kAhead) load_words(stage, 0), load_words(stage, 1), load_scales(stage, 0);
  };
  Work work{};
  for (int w = 0; work.next(p, w); ++w) {
    int slot = 0, previous = 0;
    if constexpr (kAhead) arrive();
    for (int i = 0; i < work.count; ++i) {
#pragma unroll
      for (int chunk = 0; chunk < 2; ++chunk) {
        const bool begins_stage = chunk % kChunks == 0;
        if (begins_stage) {
          if constexpr (!kAhead) arrive();
          previous = slot;
          slot = at.slot;
          at.advance(p.stages);
        }
        if constexpr (!kAhead) load_words(stage, chunk);
#pragma unroll
        for (int h = 0; h < kPerChunk; ++h) {
          if (kGroups > 1 || chunk == 0) {
            if constexpr (!kAhead) load_scales(stage, chunk % kChunks * kPerChunk + h);
#pragma unroll
            for (int b = 0; b < kBlocks; ++b) scales[b].set(s[b], z[b]);
          }
#pragma unroll
          for (int step = h * 4 / kPerChunk; step < (h + 1) * 4 / kPerChunk; ++step)
#pragma unroll
            for (int b = 0; b < kBlocks; ++b) scales[b].word(words[chunk][b][step], a[chunk][b][step]);
        }
        wgmma_fence();
        const uint64_t x = make_descriptor(stage + (part * 2 + chunk % kChunks) * Shape::kXBox);
#pragma unroll
        for (int step = 0; step < 4; ++step)
#pragma unroll
          for (int b = 0; b < kBlocks; ++b)
            Wgmma<T>::multiply(sum[b], a[chunk][b][step], x + 2 * step, i + chunk + step > 0);
        wgmma_commit();
        if constexpr (kAhead)
          if (chunk == 1 && i + 1 < work.count) arrive();
        // The 64 k before these are done: their registers and, where this begins a stage, the stage before are free.
        wgmma_wait<1>();
        if (begins_stage && i + chunk > 0 && lane == 0) barrier_arrive(memory.empty() + 8 * previous);
      }
    }
    wgmma_wait<0>();
    if (lane == 0) barrier_arrive(memory.empty() + 8 * slot);
    if constexpr (kParts == 1) {
      finish_work<Shape>(p, epilogue, work, memory, sum, warp, y);
    } else {
      float mine[Shape::kBlocks][kTokens / 2];
      if (gather_sums<Shape>(memory.full + Shape::exchange_at(p.stages), warp, part, warp % 4, 4, sum, mine))
        finish_work<Shape>(p, epilogue, work, memory, mine, warp);
    }
  }
  if constexpr (Shape::kStaged) wait_for_staged();
}

}  // namespace awq::backend::cuda
