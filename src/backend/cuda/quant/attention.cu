// attend -- causal grouped-query attention over whole windows, for calibration.
//
//   out[h] = softmax(q[h] k[kv(h)]' / sqrt(d) + mask) v[kv(h)],   kv(h) = h / (heads / kv_heads)
//
// A block takes 64 queries of one head, a warp 16 of them; keys come 64 (or 16) at a time through shared memory, and
// the softmax is carried along (running maximum and sum), so that scores never leave registers. Products on tensor
// cores, float16 in and float32 out; the probabilities, at most 1, are rounded to float16 for the second one.
//
// Work: 4 T (L/2) heads d flop for T tokens in windows of L: 9e12 for Llama-3-8B (65,536 tokens, L 512, all blocks),
// under a hundredth of the linears: a plain loop without overlap of loads is enough.
#include "backend/cuda/kernels/fragments.cuh"
#include "backend/cuda/kernels/launch_kernel.h"
#include "backend/cuda/quant/forward_launch.h"

namespace awq::backend::cuda::quant {
namespace {

constexpr int kThreads = 128, kWarps = kThreads / 32;
constexpr int kQueries = 16 * kWarps;
// Keys of a tile: fewer where a head's output fills half of the registers.
template <int kDim>
constexpr int kKeysOf = kDim <= 128 ? 64 : 16;
constexpr float kLowest = -__builtin_huge_valf();

__device__ __forceinline__ uint32_t packed(float low, float high) { return bits(__floats2half2_rn(low, high)); }

// Operand A (16 x 16): row g = lane / 4 and g + 8, columns 2 (lane % 4) and 8 more. Zero beyond the window and
// head_dim.
__device__ __forceinline__ void load_query(uint32_t (&a)[4], const __half* q, int64_t stride, int row, int col,
                                           const Attention& p) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int r = row + i % 2 * 8, c = col + i / 2 * 8;
    a[i] = r < p.window && c < p.head_dim ? *reinterpret_cast<const uint32_t*>(q + r * stride + c) : 0u;
  }
}

// kKeysOf<kDim> rows of head_dim values into rows of kStride; zero beyond the window and head_dim.
template <int kDim, int kStride>
__device__ __forceinline__ void load_tile(__half* to, const __half* from, int64_t stride, int first,
                                          const Attention& p) {
  constexpr int kChunks = kDim / 8, kKeys = kKeysOf<kDim>;
  for (int i = static_cast<int>(threadIdx.x); i < kKeys * kChunks; i += kThreads) {
    const int row = i / kChunks, col = i % kChunks * 8;
    uint4 v = make_uint4(0, 0, 0, 0);
    if (first + row < p.window && col < p.head_dim)
      v = *reinterpret_cast<const uint4*>(from + (first + row) * stride + col);
    *reinterpret_cast<uint4*>(to + row * kStride + col) = v;
  }
}

struct Running {  // of the two rows of a lane
  float largest[2] = {kLowest, kLowest}, sum[2] = {0, 0};
};

// Scores of a tile become probabilities up to the running maximum; returns what older results must be multiplied by.
template <int kKeyTiles>
__device__ __forceinline__ void soften(float (&s)[kKeyTiles][4], Running& run, int first_query, int first_key,
                                       float scale, int64_t sliding, float (&shrink)[2]) {
  const int column = static_cast<int>(threadIdx.x % 4) * 2;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = first_query + half * 8;
    float largest = run.largest[half];
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int key = first_key + n * 8 + column + i;
        const bool seen = key <= query && (sliding == 0 || key > query - sliding);
        float& value = s[n][half * 2 + i];
        value = seen ? value * scale : kLowest;
        largest = fmaxf(largest, value);
      }
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
    const float base = largest == kLowest ? 0.f : largest;  // a row that sees no key of this tile nor of those before
    shrink[half] = exp2f(run.largest[half] - base);
    run.largest[half] = largest;
    float sum = 0;
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& value = s[n][half * 2 + i];
        value = exp2f(value - base);
        sum += value;
      }
    run.sum[half] = run.sum[half] * shrink[half] + sum;
  }
}

template <int kDim>
__global__ void __launch_bounds__(kThreads) attend_tile(Attention p, float scale) {
  constexpr int kStride = kDim + 8;         // halves: rows 16 bytes further in the banks, so that 8 rows do not collide
  constexpr bool kHoldQuery = kDim <= 128;  // 64 registers more would spill
  constexpr int kSteps = kDim / 16, kKeys = kKeysOf<kDim>, kKeyTiles = kKeys / 8;
  extern __shared__ __align__(16) __half shared[];
  __half *keys = shared, *values = shared + kKeys * kStride;
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int64_t head = blockIdx.y, kv = head / (p.heads / p.kv_heads), token = int64_t{blockIdx.z} * p.window;
  const int64_t q_stride = p.heads * p.head_dim, kv_stride = p.kv_heads * p.head_dim;
  const __half* q = p.q + token * q_stride + head * p.head_dim;
  const __half* k = p.k + token * kv_stride + kv * p.head_dim;
  const __half* v = p.v + token * kv_stride + kv * p.head_dim;
  const int first_query = static_cast<int>(blockIdx.x) * kQueries, row = first_query + warp * 16 + lane / 4;

  uint32_t query[kHoldQuery ? kSteps : 1][4];
  if constexpr (kHoldQuery) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) load_query(query[step], q, q_stride, row, step * 16 + lane % 4 * 2, p);
  }
  float out[kDim / 8][4] = {};
  Running run;
  const int oldest = p.sliding == 0 ? 0 : max(0, first_query - static_cast<int>(p.sliding) + 1);
  const int last = min(first_query + kQueries, static_cast<int>(p.window));
  for (int key = oldest / kKeys * kKeys; key < last; key += kKeys) {
    __syncthreads();  // all warps are done with the tile before
    load_tile<kDim, kStride>(keys, k, kv_stride, key, p);
    load_tile<kDim, kStride>(values, v, kv_stride, key, p);
    __syncthreads();
    float s[kKeyTiles][4] = {};
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      if constexpr (!kHoldQuery) load_query(query[0], q, q_stride, row, step * 16 + lane % 4 * 2, p);
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n) {
        const auto* b =
            reinterpret_cast<const uint32_t*>(keys + (n * 8 + lane / 4) * kStride + step * 16 + lane % 4 * 2);
        mma<__half>(s[n], query[kHoldQuery ? step : 0], b[0], b[4]);
      }
    }
    float shrink[2];
    soften(s, run, row, key, scale, p.sliding, shrink);
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) out[n][i] *= shrink[i / 2];
#pragma unroll
    for (int step = 0; step < kKeys / 16; ++step) {
      const uint32_t a[4] = {packed(s[2 * step][0], s[2 * step][1]), packed(s[2 * step][2], s[2 * step][3]),
                             packed(s[2 * step + 1][0], s[2 * step + 1][1]),
                             packed(s[2 * step + 1][2], s[2 * step + 1][3])};
#pragma unroll
      for (int n = 0; n < kDim / 16; ++n) {
        // Matrices in the order of keys 0-7, 8-15 for 8 values of d, then the same keys for the next 8.
        const int from = (step * 16 + lane % 16) * kStride + n * 16 + lane / 16 * 8;
        uint32_t b[4];
        ldmatrix4_transposed(b, smem_address(values + from));
        mma<__half>(out[2 * n], a, b[0], b[1]);
        mma<__half>(out[2 * n + 1], a, b[2], b[3]);
      }
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = run.sum[half];
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    const int r = row + half * 8;
    if (r >= p.window) continue;
    const float inverse = 1.f / sum;  // a token sees itself: the sum is positive
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
      const int c = n * 8 + lane % 4 * 2;
      if (c < p.head_dim)
        *reinterpret_cast<uint32_t*>(p.out + (token + r) * q_stride + head * p.head_dim + c) =
            packed(out[n][half * 2] * inverse, out[n][half * 2 + 1] * inverse);
    }
  }
}

template <int kDim>
cudaError_t launch(const Attention& p, cudaStream_t stream) {
  constexpr size_t kShared = 2 * kKeysOf<kDim> * (kDim + 8) * sizeof(__half);
  const dim3 grid(static_cast<unsigned>((p.window + kQueries - 1) / kQueries), static_cast<unsigned>(p.heads),
                  static_cast<unsigned>(p.windows));
  // exp2 instead of exp: its factor is free here
  const float scale = 1.4426950408889634f / sqrtf(static_cast<float>(p.head_dim));
  return launch_kernel(attend_tile<kDim>, grid, kThreads, kShared, stream, false, p, scale);
}

}  // namespace

cudaError_t attend(const Attention& p, cudaStream_t stream) {
  if (p.head_dim <= 64) return launch<64>(p, stream);
  if (p.head_dim <= 128) return launch<128>(p, stream);
  return launch<256>(p, stream);
}

}  // namespace awq::backend::cuda::quant
