// What happens to a finished sum on its way to y: bias, the fp16 correction of the salient input channels, one
// rounding.
//
//   y[token][row] = T(acc + bias[row] + sum_c x[token][index[c]] * delta[c][row])      sums in float32, c ascending
//
// One place for all kernels, so that every kernel rounds and corrects alike.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstring>

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

  // Stores the accumulators of one mma.m16n8 (a lane's four values of a wgmma.m64nN tile are the same): 16 rows from
  // `row`, 8 tokens from `token`; lane 4g+t has rows g, g+8 and tokens 2t, 2t+1. All lanes of the warp take part.
  // Transposed in registers, so that four lanes write the 16 bytes of a token's 8 rows: n % 8 == 0 keeps them whole.
  __device__ void store_fragment(int row, int64_t token, const float (&acc)[4]) const {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int first = row + 8 * h;
      if (first >= n) return;  // the whole warp leaves: first is the same in all lanes
      float pair[2];
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int64_t column = token + 2 * t + e;
        pair[e] = column < m ? finish(first + g, column, acc[2 * h + e]) : 0.f;
      }
      const uint32_t rows = transpose_8x8(pack_pair<T>(pair[0], pair[1]));  // token g, rows 2t and 2t+1
      if (token + g < m) *reinterpret_cast<uint32_t*>(y + (token + g) * n + first + 2 * t) = rows;
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
          a.layout.k};
}

}  // namespace awq::backend::cuda
