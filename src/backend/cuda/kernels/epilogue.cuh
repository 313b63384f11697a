// What happens to a finished sum on its way to y: bias, the fp16 correction of the salient input channels, one
// rounding.
//
//   sum = acc + bias[row] + sum_c x[token][index[c]] * delta[c][row]      in float32, c ascending
//   y[token][row] = T(sum), or, of gate and up, T(silu(sum of gate) * sum of up)
//
// One place for all kernels, so that every kernel rounds and corrects alike.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstring>

#include "backend/cuda/kernels/silu.cuh"
#include "backend/cuda/linear_launch.h"

namespace awq::backend::cuda {

__device__ inline float to_float(__half v) { return __half2float(v); }
__device__ inline float to_float(__nv_bfloat16 v) { return __bfloat162float(v); }

template <class T>
__device__ T from_float(float v);
template <>
__device__ inline __half from_float<__half>(float v) {
  return __float2half_rn(v);
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float v) {
  return __float2bfloat16_rn(v);
}

// Two values, `low` at the lower address.
template <class T>
__device__ uint32_t pack_pair(float low, float high) {
  const T pair[2] = {from_float<T>(low), from_float<T>(high)};
  uint32_t word;
  memcpy(&word, pair, sizeof word);
  return word;
}

// Transposes an 8 x 8 matrix of 16-bit values held as mma fragments do: lane 4g+t has row g, columns 2t and 2t+1.
// Needs 7.5.
__device__ inline uint32_t transpose_8x8(uint32_t fragment) {
  uint32_t out;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(out) : "r"(fragment));
  return out;
}

template <class T>
struct Epilogue {
  T* y;                 // (m, n)
  const T* x;           // (m, k)
  const __half* bias;   // (n) or null
  const __half* delta;  // (salient, n)
  const int32_t* index;
  int salient;
  int64_t m, n, k;
  bool gated = false;  // LinearArgs

  // `acc` with bias and correction; row < n and token < m.
  __device__ float finish(int row, int64_t token, float acc) const {
    if (bias != nullptr) acc += __half2float(bias[row]);
    for (int c = 0; c < salient; ++c)
      acc = fmaf(to_float(x[token * k + index[c]]), __half2float(delta[c * n + row]), acc);
    return acc;
  }

  __device__ void store(int row, int64_t token, float acc) const {
    if (row < n && token < m) y[token * n + row] = from_float<T>(finish(row, token, acc));
  }

  // The same for the accumulators of kTiles mma.m16n8 side by side (those of a wgmma.m64n(8 kTiles) are the same): 16
  // rows from `row`, 8 kTiles tokens from `token`; acc[j] of lane 4g+t is {row g, row g + 8} x tokens 8j+2t, 8j+2t+1.
  // All lanes of the warp take part.
  template <int kTiles>
  __device__ void store_fragments(int row, int64_t token, float (&acc)[kTiles][4]) const {
    finish_fragments(row, token, acc);
    gated ? store_gated(row, token, acc) : store_rounded(row, token, acc);
  }

  template <int kTiles>
  __device__ void finish_fragments(int row, int64_t token, float (&acc)[kTiles][4]) const {
    if (bias == nullptr && salient == 0) return;
    add_bias(acc, row);
    add_salient(acc, row, token, 0, salient,
                [this](int c, int64_t at) { return at < m ? to_float(x[at * k + index[c]]) : 0.f; });
  }

  // Transposed in registers, so that four lanes write the 16 bytes of a token's 8 rows.
  template <int kTiles>
  __device__ void store_rounded(int row, int64_t token, const float (&acc)[kTiles][4]) const {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    T* const out = y + (token + g) * n + row + 2 * t;
    const int tokens = static_cast<int>(m - token < 8 * kTiles ? m - token : 8 * kTiles);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int first = row + 8 * h;
      if (first >= n) return;  // n % 8 == 0: the whole warp leaves
#pragma unroll
      for (int j = 0; j < kTiles; ++j) {
        const uint32_t rows = transpose_8x8(pack_pair<T>(acc[j][2 * h], acc[j][2 * h + 1]));  // token g, rows 2t, 2t+1
        if (8 * j + g < tokens) *reinterpret_cast<uint32_t*>(out + int64_t(j) * 8 * n + 8 * h) = rows;
      }
    }
  }

  // Rows `row` .. + 7 are of gate, the next eight of up: a lane has both.
  template <int kTiles>
  __device__ void store_gated(int row, int64_t token, const float (&acc)[kTiles][4]) const {
    if (row >= n) return;
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    T* const out = y + ((token + g) * n + row) / 2 + 2 * t;
    const int tokens = static_cast<int>(m - token < 8 * kTiles ? m - token : 8 * kTiles);
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
      const uint32_t rows =
          transpose_8x8(pack_pair<T>(silu_times(acc[j][0], acc[j][2]), silu_times(acc[j][1], acc[j][3])));
      if (8 * j + g < tokens) *reinterpret_cast<uint32_t*>(out + int64_t(j) * 4 * n) = rows;
    }
  }

  template <int kTiles>
  __device__ void add_bias(float (&acc)[kTiles][4], int row) const {
    if (bias == nullptr) return;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int at = row + threadIdx.x % 32 / 4 + 8 * h;
      const float b = at < n ? __half2float(bias[at]) : 0.f;
#pragma unroll
      for (int j = 0; j < kTiles; ++j) acc[j][2 * h] += b, acc[j][2 * h + 1] += b;
    }
  }

  // Correction by the channels first .. end - 1, of which x_of(channel, token) tells x: one at a time, so that a lane
  // loads each delta once for all its tokens.
  template <int kTiles, class XOf>
  __device__ void add_salient(float (&acc)[kTiles][4], int row, int64_t token, int first, int end, XOf x_of) const {
    const int upper = row + threadIdx.x % 32 / 4, lower = upper + 8;
#pragma unroll 1
    for (int c = first; c < end; ++c) {
      const __half* d = delta + c * n;
      const float d_upper = upper < n ? __half2float(d[upper]) : 0.f,
                  d_lower = lower < n ? __half2float(d[lower]) : 0.f;
#pragma unroll
      for (int i = 0; i < 2 * kTiles; ++i) {
        const float v = x_of(c, token + threadIdx.x % 4 * 2 + i / 2 * 8 + i % 2);
        acc[i / 2][i % 2] = fmaf(v, d_upper, acc[i / 2][i % 2]);
        acc[i / 2][2 + i % 2] = fmaf(v, d_lower, acc[i / 2][2 + i % 2]);
      }
    }
  }
};

template <class T>
Epilogue<T> make_epilogue(const LinearArgs& a) {
  return {static_cast<T*>(a.y),
          static_cast<const T*>(a.x),
          static_cast<const __half*>(a.bias),
          static_cast<const __half*>(a.salient.delta),
          a.salient.index,
          a.salient.count,
          a.m,
          a.layout.n,
          a.layout.k,
          a.gated};
}

}  // namespace awq::backend::cuda
