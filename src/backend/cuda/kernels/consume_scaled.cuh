// Many tokens: weights are dequantized into operand A of wgmma, 64 rows a warpgroup; x, in shared memory, is operand B.
//
// Per 64 k: one 16-byte load of shared memory a lane, four words dequantized, four wgmma. Two register sets alternate,
// so that dequantizing 64 k overlaps the products of the 64 k before. w = half(s (q - z)), rounded once: a float scale
// per sum would need a second set of sums. A word of 8 weights costs 13 instructions a warp for kTokens / 2 cycles of
// wgmma.
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

template <class T, class Shape>
__device__ __forceinline__ void consume_scaled(const PipelineParams& p, const Epilogue<T>& epilogue,
                                               const Memory& memory) {
  constexpr int kTokens = Shape::kTokens, kBlocks = Shape::kBlocks, kGroups = Shape::kGroups;
  const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
  const int group_of_warps = warp / 4;
  float sum[kBlocks][kTokens / 2];
  uint32_t a[2][kBlocks][4][4];  // [set][row block][step][register]
  RingPosition at{0, 0};
  Work work{};
  for (int w = 0; work.next(p, w); ++w) {
    int previous = 0;
    for (int i = 0; i < work.count; ++i) {
      const uint32_t stage = memory.ring + at.slot * Shape::kStage;
      barrier_wait(memory.full + 8 * at.slot, at.parity);
#pragma unroll
      for (int chunk = 0; chunk < 2; ++chunk) {
#pragma unroll
        for (int b = 0; b < kBlocks; ++b) {
          const int block = group_of_warps * kBlocks + b;
          uint32_t words[4];
          load_shared16(words, stage + Shape::kXBytes + block * 4096 + chunk * 2048 + warp % 4 * 512 + lane * 16);
          constexpr int kPerChunk = kGroups == 4 ? 2 : 1;
#pragma unroll
          for (int h = 0; h < kPerChunk; ++h) {
            const int g = kGroups == 1 ? 0 : chunk * kPerChunk + h;
            const uint32_t meta = (block * kGroups + g) * 4 + warp % 4;
            const uint32_t s = load_shared32(stage + Shape::kScales + meta * 32 + lane / 4 * 4);
            const uint32_t z = load_shared_u8(stage + Shape::kZeros + meta * 8 + lane / 4);
            const Zeros zeros = Dequantize<T>::zeros(z);
            const float2 sf = __half22float2(as_half2(s));
            const uint32_t upper = __byte_perm(s, s, 0x1010), lower = __byte_perm(s, s, 0x3232);
#pragma unroll
            for (int step = h * 4 / kPerChunk; step < (h + 1) * 4 / kPerChunk; ++step) {
              uint32_t(&out)[4] = a[chunk][b][step];
              Dequantize<T>::word(words[step], zeros, out);
#pragma unroll
              for (int e = 0; e < 4; ++e)
                out[e] = scaled_once<T>(out[e], e % 2 == 0 ? sf.x : sf.y, e % 2 == 0 ? upper : lower);
            }
          }
        }
        wgmma_fence();
        const uint64_t x = make_descriptor(stage + chunk * Shape::kXBox);
#pragma unroll
        for (int step = 0; step < 4; ++step)
#pragma unroll
          for (int b = 0; b < kBlocks; ++b)
            Wgmma<T>::multiply(sum[b], a[chunk][b][step], x + 2 * step, i + chunk + step > 0);
        wgmma_commit();
        // The 64 k before these are done: their registers and, at chunk 0, the stage before are free.
        wgmma_wait<1>();
        if (chunk == 0 && i > 0 && lane == 0) barrier_arrive(memory.empty() + 8 * previous);
      }
      previous = at.slot;
      at.advance(p.stages);
    }
    wgmma_wait<0>();
    if (lane == 0) barrier_arrive(memory.empty() + 8 * previous);
    finish_work<Shape>(p, epilogue, work, memory, sum, warp);
  }
}

}  // namespace awq::backend::cuda
