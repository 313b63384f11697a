// gemv_w4a16_portable: a few tokens. A block has a tile of 16 rows; its warps take turns along k, 64 input features
// each, and keep their part of x as float32 in shared memory, in the order in which a lane multiplies:
//
//   s_x[token][16 j + 4 t + {0, 1, 2, 3}] = x[k = 16 j + {2t, 2t+1, 2t+8, 2t+9}]     16 bytes, read by the lanes (*, t)
//
// Roofline, n = k = 4096, group 128, m = 1: 8.9 MB, 320 GB/s of a GTX 1080 are 28 us. 64 input features of a tile are
// 96 instructions a warp to dequantize and 36 a token to multiply: 16384 x 132 / (4 x 20 SMs x 1.6 GHz) are 17 us, so
// bandwidth decides; at m = 8 it is 49 us of arithmetic.
#include <array>

#include "backend/cuda/kernels/portable.cuh"
#include "backend/cuda/kernels/portable.h"

namespace awq::backend::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kStride = kTileK + 4;  // of a token: the 32 units of 4 tokens then lie in 32 banks when they are stored

// What a lane fetches for 64 input features.
template <class T, int kTokens>
struct Step {
  static constexpr int kUnits = (kTokens * 8 + 31) / 32;  // of 8 input features of x
  uint4 words;
  Parameters parameters[2];  // of 32 input features each
  uint4 x[kUnits];

  __device__ static int unit(int i) { return threadIdx.x % 32 + 32 * i; }  // token * 8 + k / 8
  __device__ static bool is_unit(int i) { return kTokens % 4 == 0 || unit(i) < kTokens * 8; }

  __device__ void fetch(const PortableArgs<T>& p, int tile, int chunk, int64_t token) {
    const int lane = threadIdx.x % 32;
    words = *words_at(p, tile, chunk, lane);
#pragma unroll
    for (int half = 0; half < 2; ++half) parameters[half] = load_parameters(p, tile, chunk, half, lane);
#pragma unroll
    for (int i = 0; i < kUnits; ++i)
      if (is_unit(i)) x[i] = load_unit(p.out, token + unit(i) / 8, int64_t{chunk} * kTileK + unit(i) % 8 * 8);
  }

  __device__ void put_x(float (*s_x)[kStride]) const {
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
      if (!is_unit(i)) continue;
      const uint32_t pairs[4] = {x[i].x, x[i].y, x[i].z, x[i].w};
      float* to = s_x[unit(i) / 8] + unit(i) % 8 / 2 * 16 + unit(i) % 2 * 2;
#pragma unroll
      for (int t = 0; t < 4; ++t) *reinterpret_cast<float2*>(to + 4 * t) = unpack_pair(pairs[t], T{});
    }
  }
};

// sums[row g, g + 8][token] += the 16 input features of word j.
template <int kTokens>
__device__ void multiply_word(float (&sums)[2][kTokens], uint32_t word, const RowPair& r, const float (*s_x)[kStride],
                              int j) {
  float w[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) w[i] = r.weight(word, i);
#pragma unroll
  for (int token = 0; token < kTokens; ++token) {
    const auto x = *reinterpret_cast<const float4*>(s_x[token] + 16 * j + threadIdx.x % 4 * 4);
#pragma unroll
    for (int h = 0; h < 2; ++h)  // nibble i: row g + 8 (i % 2), k 2t + 8 (i / 2 % 2) + i / 4
      sums[h][token] = fmaf(w[h + 6], x.w, fmaf(w[h + 2], x.z, fmaf(w[h + 4], x.y, fmaf(w[h], x.x, sums[h][token]))));
  }
}

// acc += s * sum over the 32 input features of words 2 half and 2 half + 1.
template <int kTokens>
__device__ void multiply_half(float (&acc)[2][kTokens], uint32_t first, uint32_t second, const Parameters& parameters,
                              const float (*s_x)[kStride], int half) {
  const RowPair r(parameters);
  float sums[2][kTokens] = {};
  multiply_word(sums, first, r, s_x, 2 * half);
  multiply_word(sums, second, r, s_x, 2 * half + 1);
#pragma unroll
  for (int h = 0; h < 2; ++h)
#pragma unroll
    for (int token = 0; token < kTokens; ++token) acc[h][token] = fmaf(r.scale[h], sums[h][token], acc[h][token]);
}

// Sum over the four lanes that share rows; all four get it.
__device__ float quad_sum(float v) {
  v += __shfl_xor_sync(~0u, v, 1);
  return v + __shfl_xor_sync(~0u, v, 2);
}

// Adds the warps' sums in their order and stores them.
template <class T, int kTokens>
__device__ void add_and_store(const Epilogue<T>& out, float (&acc)[2][kTokens], int64_t first_token) {
  __shared__ float s_sums[kWarps][kTileRows][kTokens];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int h = 0; h < 2; ++h)
#pragma unroll
    for (int token = 0; token < kTokens; ++token) {
      const float sum = quad_sum(acc[h][token]);
      if (lane % 4 == 0) s_sums[warp][lane / 4 + 8 * h][token] = sum;
    }
  __syncthreads();
  for (int i = threadIdx.x; i < kTileRows * kTokens; i += blockDim.x) {
    const int row = i % kTileRows, token = i / kTileRows;
    float sum = 0;
    for (int w = 0; w < kWarps; ++w) sum += s_sums[w][row][token];
    out.store(blockIdx.x * kTileRows + row, first_token + token, sum);
  }
}

template <class T, int kTokens>
__global__ void __launch_bounds__(32 * kWarps, kTokens < 8 ? 4 : 2) gemv_portable(PortableArgs<T> p) {
  __shared__ __align__(16) float s_all[kWarps][kTokens][kStride];
  const int warp = threadIdx.x / 32;
  float(*s_x)[kStride] = s_all[warp];
  const int64_t first_token = int64_t{blockIdx.y} * kTokens;
  float acc[2][kTokens] = {};
  Step<T, kTokens> next;
  if (warp < p.chunks) next.fetch(p, blockIdx.x, warp, first_token);
  for (int chunk = warp; chunk < p.chunks; chunk += kWarps) {
    const Step<T, kTokens> step = next;
    __syncwarp();  // everybody has read the x of the step before
    step.put_x(s_x);
    __syncwarp();
    if (chunk + kWarps < p.chunks) next.fetch(p, blockIdx.x, chunk + kWarps, first_token);
    multiply_half(acc, step.words.x, step.words.y, step.parameters[0], s_x, 0);
    multiply_half(acc, step.words.z, step.words.w, step.parameters[1], s_x, 1);
  }
  add_and_store(p.out, acc, first_token);
}

// ---- launcher ------------------------------------------------------------------------------------------------------

size_t no_workspace(const LinearArgs&, const Gpu&) { return 0; }

template <class T, int kTokens>
void launch_tokens(const LinearArgs& a) {
  const dim3 grid(static_cast<unsigned>((a.layout.n + kTileRows - 1) / kTileRows),
                  static_cast<unsigned>((a.m + kTokens - 1) / kTokens));
  gemv_portable<T, kTokens><<<grid, 32 * kWarps, 0, a.stream>>>(make_portable_args<T>(a));
}

template <class T>
void launch_gemv(const LinearArgs& a) {
  static constexpr std::array kByTokens{launch_tokens<T, 1>, launch_tokens<T, 2>, launch_tokens<T, 4>,
                                        launch_tokens<T, 8>};
  kByTokens[a.m <= 1 ? 0 : a.m <= 2 ? 1 : a.m <= 4 ? 2 : 3](a);
}

cudaError_t gemv_launch(const LinearArgs& a, const Gpu&) {
  if (a.layout.chunks() > kMaxChunks) return cudaErrorInvalidValue;
  a.bf16 ? launch_gemv<__nv_bfloat16>(a) : launch_gemv<__half>(a);
  return cudaGetLastError();
}

}  // namespace

const Launcher kGemvPortable{no_workspace, gemv_launch};

}  // namespace awq::backend::cuda
