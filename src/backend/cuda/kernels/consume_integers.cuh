// Few tokens: the weights enter the product as integers, on mma.sync.
//
//   y = sum over groups of  s 2^24 (sum q 2^-24 x)  -  s z (sum x)
//
// A masked nibble is a subnormal half (fragments.cuh: Raw), five instructions for eight weights, so a word costs half
// of what it does in consume_scaled.cuh; in return every sum takes two multiply-adds a group. At 8 and 16 tokens wgmma
// is bound by the latency of its chain on one set of sums (about 45 cycles a step of 16 k, whatever its width),
// mma.m16n8k16 is not. Measured on one H200, 28672 x 4096: m = 8 17.5 us against 24.5, m = 16 22.3 against 24.5; from
// 32 tokens wgmma wins.
#pragma once
#include "backend/cuda/kernels/pipeline_sm90a.cuh"

namespace awq::backend::cuda {

// Sums of x over 64 k, for both halves of a stage: [2][token] floats at `to`. The tensor cores do it, with a matrix of
// ones; one warp, all lanes.
template <int kTokens>
__device__ __forceinline__ void sum_x(uint32_t x, uint32_t to) {
  const int lane = threadIdx.x % 32;
  const uint32_t ones[4] = {0x3c003c00, 0x3c003c00, 0x3c003c00, 0x3c003c00};
#pragma unroll
  for (int half = 0; half < 2; ++half)
#pragma unroll
    for (int tile = 0; tile < kTokens / 8; ++tile) {
      const uint32_t row = x + (half * kTokens + tile * 8 + lane % 8) * 128;
      float d[4] = {0.f, 0.f, 0.f, 0.f};
#pragma unroll
      for (int pair = 0; pair < 2; ++pair) {  // 16-byte pieces of a row lie at their index xor the row's
        uint32_t b[4];
        ldmatrix4(b, row + ((pair * 4 + lane / 8) ^ (lane % 8)) * 16);
        mma<__half>(d, ones, b[0], b[1]);
        mma<__half>(d, ones, b[2], b[3]);
      }
      if (lane < 4)
        asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to + (half * kTokens + tile * 8 + 2 * lane) * 4),
                     "f"(d[0]), "f"(d[1])
                     : "memory");
    }
}

// A consumer warp has 16 rows of each of its kBlocks row blocks.
template <class T, class Shape>
__device__ __forceinline__ void consume_integers(const PipelineParams& p, const Epilogue<T>& epilogue, uint32_t full,
                                                 uint32_t ring) {
  constexpr int kTokens = Shape::kTokens, kBlocks = Shape::kBlocks, kGroups = Shape::kGroups, kColumns = kTokens / 8;
  const uint32_t empty = full + 128, summed = full + 256;
  const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
  const uint32_t word_at = Shape::kXBytes + warp / 4 * kBlocks * 4096 + warp % 4 * 512 + lane * 16;
  const uint32_t meta = warp / 4 * kBlocks * kGroups * 4 + warp % 4;
  const uint32_t scale_at = Shape::kScales + meta * 32 + lane / 4 * 4, zero_at = Shape::kZeros + meta * 8 + lane / 4;
  const uint32_t sums_at = full + Shape::kXSums + lane % 4 * 8;
  uint32_t x_at[2];  // 16-byte pieces of a row of x lie at their index xor the row's
#pragma unroll
  for (int pair = 0; pair < 2; ++pair) x_at[pair] = lane % 8 * 128 + ((pair * 4 + lane / 8) ^ (lane % 8)) * 16;
  RingPosition at{0, 0};
  Work work{};
  for (int w = 0; work.next(p, w); ++w) {
    float total[kBlocks][kTokens / 2] = {};
    for (int i = 0; i < work.count; ++i) {
      const uint32_t stage = ring + at.slot * Shape::kStage;
      float part[kBlocks][kColumns][4];
      barrier_wait(full + 8 * at.slot, at.parity);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t words[kBlocks][4];
#pragma unroll
        for (int b = 0; b < kBlocks; ++b) load_shared16(words[b], stage + word_at + b * 4096 + half * 2048);
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
        if (half == 0 || kGroups == 1) barrier_wait(summed + 8 * at.slot, at.parity);
        float2 xs[kColumns];
#pragma unroll
        for (int j = 0; j < kColumns; ++j) {
          const uint32_t from = sums_at + (at.slot * 2 * kTokens + j * 8) * 4;
          xs[j] = load_shared_float2(from + (kGroups == 2 ? half * kTokens * 4 : 0));
          if constexpr (kGroups == 1) {
            const float2 other = load_shared_float2(from + kTokens * 4);
            xs[j].x += other.x, xs[j].y += other.y;
          }
        }
#pragma unroll
        for (int b = 0; b < kBlocks; ++b) {  // the integers were q * 2^-24 in the upper row, q * 2^-20 in the lower one
          const uint32_t z = load_shared_u8(stage + zero_at + (b * kGroups + g) * 32);
          const float2 scale = __half22float2(as_half2(load_shared32(stage + scale_at + (b * kGroups + g) * 128)));
          const float2 factor = make_float2(scale.x * 0x1p24f, scale.y * 0x1p20f);
          const float2 minus_zero = make_float2(-scale.x * float(z & 15), -scale.y * float(z >> 4));
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
      __syncwarp();
      if (lane == 0) barrier_arrive(empty + 8 * at.slot);
      at.advance(p.stages);
    }
    finish_work<Shape>(p, epilogue, work, ring, total, warp);
  }
}

}  // namespace awq::backend::cuda
