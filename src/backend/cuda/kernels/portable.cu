// gemv_w4a16_portable, gemm_w4a16_portable -- y[token][row] = sum_k x[token][k] * s[row][g] * (q[row][k] - z[row][g]).
//
// float32 arithmetic on the ordinary cores: nothing here asks for more than 6.0, so nothing is guarded. Bit diagram:
// tile_layout.h; a lane's word j holds rows g and g + 8 at k = 16j + {2t, 2t+1, 2t+8, 2t+9}. s * (q - z) has 15 bits
// and is exact in float32. Every sum has one fixed order.
//
// Roofline, n = k = 4096, group 128, m = 1: 8.9 MB, 320 GB/s of a GTX 1080 are 28 us; 16.8 million weights at 4
// instructions are 2.1 million warp instructions, 16 us on its 20 SMs: bandwidth decides. From m = 2 on it is
// arithmetic: one FMA a weight and token, 8.9 Tflop/s there.
#include "backend/cuda/kernels/portable.h"

#include <algorithm>
#include <array>

#include "backend/cuda/kernels/epilogue.cuh"

namespace awq::backend::cuda {
namespace {

template <class T>
struct PortableArgs {
  Epilogue<T> out;
  const uint4* qweight;
  const __half* scales;
  const uint8_t* zeros;
  int chunks, groups, row_tiles;
  int group;  // input features; all of k when there is one group
};

template <class T>
PortableArgs<T> make_args(const LinearArgs& a) {
  const TileLayout& l = a.layout;
  return {make_epilogue<T>(a),
          static_cast<const uint4*>(a.qweight),
          static_cast<const __half*>(a.scales),
          static_cast<const uint8_t*>(a.zeros),
          static_cast<int>(l.chunks()),
          static_cast<int>(l.groups()),
          static_cast<int>(l.row_tiles()),
          static_cast<int>(l.groups() == 1 ? l.padded_k() : l.group)};
}

// Scales and zero points of a lane's two rows in one group.
struct RowPair {
  float s[2], z[2];
};

template <class T>
__device__ RowPair load_row_pair(const PortableArgs<T>& p, int tile, int column, int g) {
  const int64_t at = (int64_t{tile / 4} * p.groups + column / p.group) * 4 + tile % 4;
  const __half2 s = reinterpret_cast<const __half2*>(p.scales)[at * 8 + g];
  const uint32_t z = p.zeros[at * 8 + g];
  return {{__low2float(s), __high2float(s)}, {static_cast<float>(z & 15), static_cast<float>(z >> 4)}};
}

template <class T>
__device__ uint4 load_words(const PortableArgs<T>& p, int tile, int chunk, int lane) {
  return p.qweight[((int64_t{tile / 4} * p.chunks + chunk) * 4 + tile % 4) * 32 + lane];
}

__device__ uint32_t word_of(const uint4& words, int step) {
  return step == 0 ? words.x : step == 1 ? words.y : step == 2 ? words.z : words.w;
}

// q of nibble i: 2^23 + q without a conversion instruction, which runs at a quarter of the rate.
__device__ float code(uint32_t word, int i) { return __uint_as_float((word >> 4 * i & 15) | 0x4b000000) - 8388608.f; }

__device__ float2 unpack_pair(uint32_t bits, __half) {
  __half2 v;
  memcpy(&v, &bits, sizeof v);
  return __half22float2(v);
}
__device__ float2 unpack_pair(uint32_t bits, __nv_bfloat16) {
  return {__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000)};
}

// ---- a few tokens: a block a tile of 16 rows, its warps take turns along k -----------------------------------------

constexpr int kGemvWarps = 8;

// sums[row g, g + 8][token] += the 16 input features of one word.
template <class T, int kTokens>
__device__ void multiply_word(float (&sums)[2][kTokens], uint32_t word, const RowPair& r, const Epilogue<T>& io,
                              int64_t token, int64_t column) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {  // k + 2t, and 8 further
    const int64_t at = column + 8 * half;
    float w[2][2];
#pragma unroll
    for (int i = 0; i < 4; ++i) w[i % 2][i / 2] = code(word, 4 * (i / 2) + 2 * half + i % 2) - r.z[i % 2];
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      const bool inside = at < io.k && token + t < io.m;  // k % 8 == 0: both values or none
      const float2 x =
          unpack_pair(inside ? *reinterpret_cast<const uint32_t*>(io.x + (token + t) * io.k + at) : 0u, T{});
#pragma unroll
      for (int h = 0; h < 2; ++h) sums[h][t] = fmaf(w[h][1], x.y, fmaf(w[h][0], x.x, sums[h][t]));
    }
  }
}

// acc += s * sum over 32 input features (two words) from `column`, which lie in one group.
template <class T, int kTokens>
__device__ void multiply_half_chunk(float (&acc)[2][kTokens], const PortableArgs<T>& p, const uint4& words, int half,
                                    int tile, int64_t token, int64_t column) {
  const int lane = threadIdx.x % 32;
  const RowPair r = load_row_pair(p, tile, static_cast<int>(column), lane / 4);
  float sums[2][kTokens] = {};
#pragma unroll
  for (int i = 0; i < 2; ++i)
    multiply_word(sums, word_of(words, 2 * half + i), r, p.out, token, column + 16 * i + lane % 4 * 2);
#pragma unroll
  for (int h = 0; h < 2; ++h)
#pragma unroll
    for (int t = 0; t < kTokens; ++t) acc[h][t] = fmaf(r.s[h], sums[h][t], acc[h][t]);
}

// Sum over the four lanes that share rows; all four get it.
__device__ float quad_sum(float v) {
  v += __shfl_xor_sync(~0u, v, 1);
  return v + __shfl_xor_sync(~0u, v, 2);
}

template <class T, int kTokens>
__global__ void __launch_bounds__(32 * kGemvWarps) gemv_portable(PortableArgs<T> p) {
  __shared__ float s_sums[kGemvWarps][kTileRows][kTokens];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, tile = blockIdx.x;
  const int64_t token = int64_t{blockIdx.y} * kTokens;
  float acc[2][kTokens] = {};
  uint4 next = warp < p.chunks ? load_words(p, tile, warp, lane) : uint4{};
  for (int chunk = warp; chunk < p.chunks; chunk += kGemvWarps) {
    const uint4 words = next;  // the following load is under way while this chunk is multiplied
    if (chunk + kGemvWarps < p.chunks) next = load_words(p, tile, chunk + kGemvWarps, lane);
    for (int half = 0; half < 2; ++half)
      multiply_half_chunk(acc, p, words, half, tile, token, int64_t{chunk} * kTileK + 32 * half);
  }
  for (int h = 0; h < 2; ++h)
    for (int t = 0; t < kTokens; ++t) {
      const float sum = quad_sum(acc[h][t]);
      if (lane % 4 == 0) s_sums[warp][lane / 4 + 8 * h][t] = sum;
    }
  __syncthreads();
  for (int i = threadIdx.x; i < kTileRows * kTokens; i += blockDim.x) {
    float sum = 0;
    for (int w = 0; w < kGemvWarps; ++w) sum += s_sums[w][i % kTileRows][i / kTileRows];
    p.out.store(tile * kTileRows + i % kTileRows, token + i / kTileRows, sum);
  }
}

// ---- many tokens: 64 rows x 64 tokens a block, both operands as float32 in shared memory ---------------------------

constexpr int kSide = 64, kStride = kSide + 4;  // + 4: lanes t = 0..3 store to rows 2t of s_w, 8 banks apart
constexpr int kGemmThreads = 128;

// s_w[k][row] = s * (q - z) for the 64 rows of the block; thread -> tile and lane.
template <class T>
__device__ void dequantize_chunk(float (*s_w)[kStride], const PortableArgs<T>& p, int row_block, int chunk) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, in_block = threadIdx.x / 32;
  const int tile = row_block * 4 + in_block;
  const uint4 words = load_words(p, tile, chunk, lane);
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    const RowPair r = load_row_pair(p, tile, chunk * kTileK + 16 * step, g);
    const uint32_t word = word_of(words, step);
#pragma unroll
    for (int i = 0; i < 8; ++i) {  // nibble i: row g + 8 (i % 2), k 2t + 8 (i / 2 % 2) + i / 4
      const int h = i % 2, k = 16 * step + 2 * t + 8 * (i / 2 % 2) + i / 4;
      s_w[k][16 * in_block + g + 8 * h] = r.s[h] * (code(word, i) - r.z[h]);
    }
  }
}

// s_x[k][token], zero beyond k and m. A warp takes 32 tokens, so that its stores meet 32 banks.
template <class T>
__device__ void load_tokens(float (*s_x)[kStride], const Epilogue<T>& io, int64_t first_token, int chunk) {
  const int token = threadIdx.x % kSide;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int unit = threadIdx.x / kSide + 2 * i;  // 8 input features, 16 bytes
    const int64_t column = int64_t{chunk} * kTileK + 8 * unit;
    const bool inside = first_token + token < io.m && column < io.k;
    const uint4 v = inside ? *reinterpret_cast<const uint4*>(io.x + (first_token + token) * io.k + column) : uint4{};
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float2 pair = unpack_pair(word_of(v, e), T{});
      s_x[8 * unit + 2 * e][token] = pair.x;
      s_x[8 * unit + 2 * e + 1][token] = pair.y;
    }
  }
}

// A thread's 4 rows x 8 tokens; its tokens are two runs of 4, 32 apart, so that 8 lanes read 128 bytes in one piece.
__device__ void multiply_chunk(float (&acc)[4][8], const float (*s_w)[kStride], const float (*s_x)[kStride]) {
  const int row = threadIdx.x / 8 * 4, token = threadIdx.x % 8 * 4;
#pragma unroll 8
  for (int k = 0; k < kTileK; ++k) {
    const auto w = *reinterpret_cast<const float4*>(&s_w[k][row]);
    const auto x = *reinterpret_cast<const float4*>(&s_x[k][token]);
    const auto y = *reinterpret_cast<const float4*>(&s_x[k][token + 32]);
    const float ws[4] = {w.x, w.y, w.z, w.w}, xs[8] = {x.x, x.y, x.z, x.w, y.x, y.y, y.z, y.w};
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 8; ++j) acc[i][j] = fmaf(ws[i], xs[j], acc[i][j]);
  }
}

template <class T>
__global__ void __launch_bounds__(kGemmThreads) gemm_portable(PortableArgs<T> p) {
  __shared__ __align__(16) float s_w[kTileK][kStride];
  __shared__ __align__(16) float s_x[kTileK][kStride];
  const int64_t first_token = int64_t{blockIdx.x} * kSide;
  float acc[4][8] = {};
  for (int chunk = 0; chunk < p.chunks; ++chunk) {
    dequantize_chunk(s_w, p, blockIdx.y, chunk);
    load_tokens(s_x, p.out, first_token, chunk);
    __syncthreads();
    multiply_chunk(acc, s_w, s_x);
    __syncthreads();
  }
  const int row = blockIdx.y * kSide + threadIdx.x / 8 * 4, token = threadIdx.x % 8 * 4;
#pragma unroll  // acc stays in registers
  for (int j = 0; j < 8; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) p.out.store(row + i, first_token + token + j % 4 + j / 4 * 32, acc[i][j]);
}

// ---- launchers -----------------------------------------------------------------------------------------------------

size_t no_workspace(const LinearArgs&, const Gpu&) { return 0; }

template <class T, int kTokens>
void launch_tokens(const LinearArgs& a) {
  const dim3 grid(static_cast<unsigned>((a.layout.n + kTileRows - 1) / kTileRows),
                  static_cast<unsigned>((a.m + kTokens - 1) / kTokens));
  gemv_portable<T, kTokens><<<grid, 32 * kGemvWarps, 0, a.stream>>>(make_args<T>(a));
}

template <class T>
void launch_gemv(const LinearArgs& a) {
  static constexpr std::array kByTokens{launch_tokens<T, 1>, launch_tokens<T, 2>, launch_tokens<T, 4>,
                                        launch_tokens<T, 8>};
  kByTokens[a.m <= 1 ? 0 : a.m <= 2 ? 1 : a.m <= 4 ? 2 : 3](a);
}

template <class T>
void launch_gemm(const LinearArgs& a) {
  const dim3 grid(static_cast<unsigned>((a.m + kSide - 1) / kSide),
                  static_cast<unsigned>((a.layout.n + kSide - 1) / kSide));
  gemm_portable<T><<<grid, kGemmThreads, 0, a.stream>>>(make_args<T>(a));
}

cudaError_t gemv_launch(const LinearArgs& a, const Gpu&) {
  a.bf16 ? launch_gemv<__nv_bfloat16>(a) : launch_gemv<__half>(a);
  return cudaGetLastError();
}

cudaError_t gemm_launch(const LinearArgs& a, const Gpu&) {
  a.bf16 ? launch_gemm<__nv_bfloat16>(a) : launch_gemm<__half>(a);
  return cudaGetLastError();
}

}  // namespace

const Launcher kGemvPortable{no_workspace, gemv_launch};
const Launcher kGemmPortable{no_workspace, gemm_launch};

}  // namespace awq::backend::cuda
