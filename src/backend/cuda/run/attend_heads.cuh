// Attention of up to kRows query heads of one token, 16 keys at a time, by one warp with tiles from its ring. Lane l:
// g = l / 4, t = l % 4. The products are those of mma.m16n8k16:
//
//   q k'    heads are the rows (8 of 16 empty where kRows = 8), keys the columns: a lane has heads g and g + 8, keys 2t
//           and 2t + 1 of each eight
//   v' p'   numbers of v are the rows, heads the columns: what a lane has of p is its operand as it is, and no row of
//           the 16 is empty. A lane has numbers g and g + 8 of each 16, heads 2t and 2t + 1 of each eight
//
// One warp a scheduler: what counts is how many instructions follow each other. With heads as the rows of both, keys
// and values in an order that needs no ldmatrix, and copies that compute each address, a group took 900 of them, 1 us
// (H200, 2026-11-22).
#pragma once
#include "backend/cuda/run/attend_ring.cuh"

namespace awq::backend::cuda {

__device__ __forceinline__ float exp2_approximate(float x) {  // to 2^-22; p is rounded to 2^-11
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

template <int kD, int kRows>
class HeadSums {
 public:
  static constexpr int kSteps = kD / 16, kTiles = kRows / 8;

  // q: kRows rows in shared memory, `pitch` halves apart. scale: of scores, to units of log 2.
  __device__ __forceinline__ HeadSums(const __half* q, int pitch, float scale, int lane) : scale_(scale) {
#pragma unroll
    for (float& most : most_) most = kNothing;
    q_at_ = smem_address(q) + lane % 8 * pitch * 2 +
            (kTiles == 1 ? lane / 8 * 16 : lane / 8 % 2 * 8 * pitch * 2 + lane / 16 * 16);
    if (kHeld == kQ)
#pragma unroll
      for (int i = 0; i < kQ; ++i) load_q(i);
  }

  // Keys in the ring's next tile, then values.
  __device__ __forceinline__ void score(const TileRing<kD>& keys, int lane) {
    float part[2][2][4] = {};  // two chains of products
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      keep_in_place(s);
      uint32_t b[4];
      ldmatrix4(b, keys.matrices(s, lane));
      uint32_t a[4];
      take_q(s, a);
      mma<__half>(part[s % 2][0], a, b[0], b[1]);
      mma<__half>(part[s % 2][1], a, b[2], b[3]);
    }
#pragma unroll
    for (int j = 0; j < 2; ++j)
#pragma unroll
      for (int e = 0; e < 2 * kTiles; ++e) score_[j][e] = part[0][j][e] + part[1][j][e];
  }

  // Keys `begin` to `end` - 1 of the group's 16 count.
  __device__ __forceinline__ void mask(int begin, int end, int lane) {
#pragma unroll
    for (int j = 0; j < 2; ++j)
#pragma unroll
      for (int e = 0; e < 2 * kTiles; ++e) {
        const int key = 8 * j + lane % 4 * 2 + e % 2;
        if (key < begin || key >= end) score_[j][e] = kNothing;
      }
  }

  // Scores -> weights relative to the largest so far; what was summed before is rescaled to it.
  __device__ __forceinline__ void weigh(int lane) {
    float highest[kTiles];
    bool higher = false;
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      float high = fmaxf(fmaxf(score_[0][2 * n], score_[0][2 * n + 1]), fmaxf(score_[1][2 * n], score_[1][2 * n + 1]));
      high = fmaxf(high, __shfl_xor_sync(~0u, high, 1));
      high = fmaxf(high, __shfl_xor_sync(~0u, high, 2));
      highest[n] = fmaxf(most_[n], high * scale_);
      higher |= highest[n] > most_[n];
    }
    if (__any_sync(~0u, higher)) rescale(highest, lane);
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      const float base = base_of(most_[n]);
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float a = exp2_approximate(fmaf(score_[j][2 * n], scale_, -base));
        const float b = exp2_approximate(fmaf(score_[j][2 * n + 1], scale_, -base));
        total_[n] += a + b;
        weights_[n][j] = bits(__floats2half2_rn(a, b));
      }
    }
  }

  __device__ __forceinline__ void add(const TileRing<kD>& values, int lane) {
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      keep_in_place(s);
      uint32_t a[4];
      ldmatrix4_transposed(a, values.matrices(s, lane));
#pragma unroll
      for (int n = 0; n < kTiles; ++n) mma<__half>(sums_[s][n], a, weights_[n][0], weights_[n][1]);
    }
  }

  // sums: [kRows][pitch] floats; stats: [kRows] {most, total}.
  __device__ __forceinline__ void leave(float* sums, int pitch, float2* stats, int lane) {
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      total_[n] += __shfl_xor_sync(~0u, total_[n], 1);
      total_[n] += __shfl_xor_sync(~0u, total_[n], 2);
      if (t == 0) stats[8 * n + g] = make_float2(most_[n], total_[n]);
#pragma unroll
      for (int s = 0; s < kSteps; ++s)
#pragma unroll
        for (int e = 0; e < 4; ++e) sums[(8 * n + 2 * t + e % 2) * pitch + 16 * s + g + e / 2 * 8] = sums_[s][n][e];
    }
  }

 private:
  // Beyond d = 128 ptxas would load all operands at once, and spill (10.0, 12.0), but for a barrier now and then.
  __device__ static __forceinline__ void keep_in_place(int s) {
    if (kD > kMostAtOnce && s % 4 == 0) __syncwarp();
  }
  // Nothing seen yet: every weight becomes 2^-inf = 0.
  __device__ static __forceinline__ float base_of(float most) { return most == kNothing ? 0.f : most; }

  // Rows 0 .. 7: operands of two steps, {a0, a2} of each. Of 16 rows: of one.
  __device__ __forceinline__ void load_q(int i) { ldmatrix4(q_[i % kHeld], q_at_ + i * (kTiles == 1 ? 64 : 32)); }
  __device__ __forceinline__ void take_q(int s, uint32_t (&a)[4]) {
    if (kHeld < kQ && s % 2 == 0) load_q(s / 2);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (kTiles == 1)
        a[i] = i % 2 == 0 ? q_[s / 2 % kHeld][s % 2 * 2 + i / 2] : 0;
      else
        a[i] = q_[s % kHeld][i];
    }
  }

  __device__ __forceinline__ void rescale(const float (&highest)[kTiles], int lane) {
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      const float factor = exp2_approximate(most_[n] - base_of(highest[n]));  // of head 8n + g
      most_[n] = highest[n];
      total_[n] *= factor;
      const float even = __shfl_sync(~0u, factor, lane % 4 * 8), odd = __shfl_sync(~0u, factor, lane % 4 * 8 + 4);
#pragma unroll
      for (int s = 0; s < kSteps; ++s)
#pragma unroll
        for (int e = 0; e < 4; ++e) sums_[s][n][e] *= e % 2 == 0 ? even : odd;
    }
  }

  static constexpr int kQ = kSteps * kTiles / 2, kHeld = kD > kMostAtOnce ? 1 : kQ;  // registers do for one, or for all
  const float scale_;
  uint32_t q_at_, q_[kHeld][4];
  float score_[2][2 * kTiles];  // of heads g, g + 8; keys 8j + 2t, + 1
  uint32_t weights_[kTiles][2];
  float sums_[kSteps][kTiles][4] = {};
  float most_[kTiles], total_[kTiles] = {};  // most: in units of log 2; total: of this lane's keys
};

}  // namespace awq::backend::cuda
