// The inner loop of attention: one warp, 16 rows of q, 16 keys at a time, straight from the cache into the registers of
// mma.m16n8k16, without shared memory: an order of d (for q k') and of output columns (for p v) is chosen in which a
// lane's 16-byte load is its operand for several instructions. Lane l: g = l / 4, t = l % 4.
//
//   q k'   32 d at a time: lane loads d 8t .. 8t+7 of key g. Step s of two multiplies d 8t+4s, +1 (registers a0 a1 b0)
//          and 8t+4s+2, +3 (a2 a3 b1): the same of q and k, in an order of d that the sum does not care about
//   p v    64 d at a time: lane loads d 8g .. 8g+7 of keys 2t, 2t+1, 2t+8, 2t+9. Tile j of eight has column g stand for
//          d 8g+j, so that its b0 is element j of keys 2t and 2t+1; of the sums, lane has d 16t+j and 16t+8+j
//
// Bytes: 4 d a key and kv head for all heads of its group together; 64 d flop a key and head.
#pragma once
#include <cuda_fp16.h>

#include "backend/cuda/kernels/fragments.cuh"
#include "backend/cuda/run/step.h"

namespace awq::backend::cuda {

inline constexpr int kGroupKeys = 16;
inline constexpr float kNothing = -INFINITY;

// Softmax of 16 rows under way: sums relative to the largest score so far. A lane has rows g ([0]) and g + 8 ([1]).
// kSums = 2: of rows 0 .. 7 alone, where the others are empty and d = 256 would take 128 registers of 255.
template <int kD, int kSums = 4>
struct RowsState {
  float acc[kD / 8][kSums];
  float most[2], total[2];  // scores in units of log 2; `total` of this lane's columns only, until finish()

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (auto& tile : acc)
#pragma unroll
      for (float& v : tile) v = 0.f;
#pragma unroll
    for (int h = 0; h < 2; ++h) most[h] = kNothing, total[h] = 0.f;
  }

  __device__ __forceinline__ void finish() {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      total[h] += __shfl_xor_sync(~0u, total[h], 1);
      total[h] += __shfl_xor_sync(~0u, total[h], 2);
    }
  }
};

// Keys and values of one layer and kv head, page by page.
struct HeadCache {
  void* const* pages;    // of the context
  int64_t keys, values;  // halves from the start of a page
  int d;

  __device__ __forceinline__ const __half* key(int position) const {
    return static_cast<const __half*>(pages[position / kPageTokens]) + keys + position % kPageTokens * d;
  }
  __device__ __forceinline__ const __half* value(int position) const { return key(position) + (values - keys); }
};

__device__ __forceinline__ uint4 load16_or_zero(const __half* from, bool there) {
  return there ? *reinterpret_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
}

// kD numbers from `offset` of 16 keys from `first`, which is a multiple of 16: all in one page. Those from `end` on are
// zero, like d beyond the head's.
template <int kD>
struct KeyGroup {
  uint4 k[2][kD / 32];

  __device__ __forceinline__ void load(const HeadCache& cache, int first, int end, int lane, int offset = 0) {
    const __half* keys = cache.key(first);
#pragma unroll
    for (int j = 0; j < 2; ++j)
#pragma unroll
      for (int c = 0; c < kD / 32; ++c) {
        const int key = 8 * j + lane / 4, at = offset + 32 * c + lane % 4 * 8;
        k[j][c] = load16_or_zero(keys + key * cache.d + at, first + key < end && at < cache.d);
      }
  }

  // Makes `from` the key number `which` of the group.
  __device__ __forceinline__ void put(int which, const __half* from, int d, int lane) {
#pragma unroll
    for (int j = 0; j < 2; ++j)
#pragma unroll
      for (int c = 0; c < kD / 32; ++c) {
        const int at = 32 * c + lane % 4 * 8;
        if (8 * j + lane / 4 == which && at < d) k[j][c] = *reinterpret_cast<const uint4*>(from + at);
      }
  }
};

template <int kD>
struct ValueGroup {
  uint4 v[kD / 64][4];  // keys 2t, 2t + 1, 2t + 8, 2t + 9

  __device__ __forceinline__ void load(const HeadCache& cache, int first, int end, int lane, int offset = 0) {
    const __half* values = cache.value(first);
#pragma unroll
    for (int b = 0; b < kD / 64; ++b)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int key = lane % 4 * 2 + i % 2 + i / 2 * 8, at = offset + 64 * b + lane / 4 * 8;
        v[b][i] = load16_or_zero(values + key * cache.d + at, first + key < end && at < cache.d);
      }
  }

  __device__ __forceinline__ void put(int which, const __half* from, int d, int lane) {
#pragma unroll
    for (int b = 0; b < kD / 64; ++b)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = 64 * b + lane / 4 * 8;
        if (lane % 4 * 2 + i % 2 + i / 2 * 8 == which && at < d) v[b][i] = *reinterpret_cast<const uint4*>(from + at);
      }
  }
};

// Adds up scores of 16 rows and 16 keys: tile j has keys 8j + 2t and + 1, rows g ([0], [1]) and g + 8 ([2], [3]). q:
// kRows rows in shared memory, `pitch` halves apart; of 8, rows g + 8 are none.
template <int kD, int kRows = 16>
__device__ __forceinline__ void add_scores(const __half* q, int pitch, const KeyGroup<kD>& keys, int lane,
                                           float (&s)[2][4]) {
  const __half* upper = q + lane / 4 * pitch + lane % 4 * 8;
#pragma unroll
  for (int c = 0; c < kD / 32; ++c) {
    const uint4 top = *reinterpret_cast<const uint4*>(upper + 32 * c);
    uint4 bottom = make_uint4(0, 0, 0, 0);
    if constexpr (kRows == 16) bottom = *reinterpret_cast<const uint4*>(upper + 8 * pitch + 32 * c);
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      const uint32_t a[4] = {word(top, 2 * step), word(bottom, 2 * step), word(top, 2 * step + 1),
                             word(bottom, 2 * step + 1)};
#pragma unroll
      for (int j = 0; j < 2; ++j) mma<__half>(s[j], a, word(keys.k[j][c], 2 * step), word(keys.k[j][c], 2 * step + 1));
    }
  }
}

// Scores -> weights relative to the largest so far, as operand A of p v; what was summed before is rescaled to it.
// visible(half, key) with key counted from the group's first.
template <int kD, int kSums, class Visible>
__device__ __forceinline__ void weigh(RowsState<kD, kSums>& state, float (&s)[2][4], float scale,
                                      const Visible& visible, int lane, uint32_t (&p)[4]) {
  float most[2] = {state.most[0], state.most[1]};
#pragma unroll
  for (int j = 0; j < 2; ++j)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      s[j][e] = visible(e / 2, 8 * j + lane % 4 * 2 + e % 2) ? s[j][e] * scale : kNothing;
      most[e / 2] = fmaxf(most[e / 2], s[j][e]);
    }
  float correction[2], base[2];
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    most[h] = fmaxf(most[h], __shfl_xor_sync(~0u, most[h], 1));
    most[h] = fmaxf(most[h], __shfl_xor_sync(~0u, most[h], 2));
    base[h] = most[h] == kNothing ? 0.f : most[h];  // nothing seen yet: every weight below becomes 2^-inf = 0
    correction[h] = exp2f(state.most[h] - base[h]);
    state.most[h] = most[h];
    state.total[h] *= correction[h];
  }
#pragma unroll
  for (int j = 0; j < 2; ++j)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      s[j][e] = exp2f(s[j][e] - base[e / 2]);
      state.total[e / 2] += s[j][e];
    }
#pragma unroll
  for (auto& tile : state.acc)
#pragma unroll
    for (int e = 0; e < kSums; ++e) tile[e] *= correction[e / 2];
#pragma unroll
  for (int j = 0; j < 2; ++j)
#pragma unroll
    for (int h = 0; h < 2; ++h) p[2 * j + h] = bits(__floats2half2_rn(s[j][2 * h], s[j][2 * h + 1]));
}

// acc: those of RowsState, from the first that the values stand for.
template <int kD, int kSums>
__device__ __forceinline__ void add_values(float (*acc)[kSums], const uint32_t (&p)[4], const ValueGroup<kD>& values) {
#pragma unroll
  for (int b = 0; b < kD / 64; ++b)
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const uint32_t pick = j % 2 == 0 ? 0x5410 : 0x7632;  // the lower or the upper half of both words
      const uint32_t b0 = __byte_perm(word(values.v[b][0], j / 2), word(values.v[b][1], j / 2), pick);
      const uint32_t b1 = __byte_perm(word(values.v[b][2], j / 2), word(values.v[b][3], j / 2), pick);
      float(&sums)[kSums] = acc[8 * b + j];
      if constexpr (kSums == 4) {
        mma<__half>(sums, p, b0, b1);
      } else {
        float both[4] = {sums[0], sums[1], 0.f, 0.f};
        mma<__half>(both, p, b0, b1);
        sums[0] = both[0], sums[1] = both[1];
      }
    }
}

// Where sums of d = 256 take 128 registers, keys and values come 128 numbers at a time, where they are used. ptxas
// would load them all at once, and spill (10.0, 12.0), but for the barriers.
inline constexpr int kMostAtOnce = 128;

template <int kD>
__device__ __forceinline__ void load_and_score(const __half* q, int pitch, const HeadCache& cache, int first, int end,
                                               int lane, float (&s)[2][4]) {
#pragma unroll
  for (int offset = 0; offset < kD; offset += kMostAtOnce) {
    KeyGroup<kMostAtOnce> keys;
    __syncwarp();
    keys.load(cache, first, end, lane, offset);
    add_scores(q + offset, pitch, keys, lane, s);
  }
}

template <int kD, int kSums>
__device__ __forceinline__ void load_and_add_values(RowsState<kD, kSums>& state, const uint32_t (&p)[4],
                                                    const HeadCache& cache, int first, int end, int lane) {
#pragma unroll
  for (int offset = 0; offset < kD; offset += kMostAtOnce) {
    ValueGroup<kMostAtOnce> values;
    __syncwarp();
    values.load(cache, first, end, lane, offset);
    add_values(state.acc + offset / 8, p, values);
  }
}

}  // namespace awq::backend::cuda
