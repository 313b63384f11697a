// dense_gemv -- y[m][n] = sum_k x[m][k] w[n][k] + bias[n], w f16 (n, k) as in the checkpoint, for m <= 16.
//
// Weights are the 16-wide side of mma.m16n8k16 (16 rows of w), tokens its 8-wide side. Lane 4g+t loads 16 bytes, k 8t
// .. 8t+7 of 32, of row g and of row g + 8, and the same k of token g: the sum does not care about the order of k, so
// that is its operand for two instructions (attend_rows.cuh has the same). No shared memory on the way in.
//
//   block   16 rows, all of k
//   warp    chunks of 32 k: chunk w, w + 4, ...; kDepth of them in flight, 16 bytes a lane and row each
//   then    the warps' sums are added in warp order
//
// Roofline, lm_head of Llama-3-8B (128256 x 4096): 1.05 GB; an H200 reads 4.31 TB/s: 244 us. In flight: 12 blocks an SM
// x 4 warps x 32 lanes x 8 x 16 bytes = 196 KB, against the 23 KB that 0.7 us of latency ask for.
#include <algorithm>

#include "backend/cuda/cublaslt.h"
#include "backend/cuda/kernels/epilogue.cuh"
#include "backend/cuda/kernels/fragments.cuh"
#include "backend/cuda/kernels/launch_kernel.h"
#include "backend/cuda/run/dense.h"
#include "backend/cuda/run/dense_stream.h"
#include "backend/cuda/run/row_kernels.h"

namespace awq::backend::cuda {
namespace {

constexpr int kWarps = 4, kThreads = 32 * kWarps, kRows = 16, kChunk = 32, kDepth = 4;

struct Chunk {
  uint4 upper, lower;  // rows g and g + 8
};

__device__ __forceinline__ uint32_t word(const uint4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

// kTiles: of 8 tokens.
template <int kTiles, class Y>
__global__ void __launch_bounds__(kThreads) dense_gemv(DenseArgs a) {
  __shared__ float sums[kWarps][8 * kTiles][kRows + 1];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int64_t row = int64_t{blockIdx.x} * kRows;
  const int k = static_cast<int>(a.k), chunks = (k + kChunk - 1) / kChunk;
  // Rows beyond n read the last one: their sums are not stored.
  const __half* const upper = a.w + min(row + g, a.n - 1) * a.k;
  const __half* const lower = a.w + min(row + g + 8, a.n - 1) * a.k;
  const auto load = [&](int chunk) {
    const int at = chunk * kChunk + 8 * t;
    const uint4 zero = make_uint4(0, 0, 0, 0);
    if (at >= k) return Chunk{zero, zero};
    return Chunk{load_streaming(reinterpret_cast<const uint4*>(upper + at)),
                 load_streaming(reinterpret_cast<const uint4*>(lower + at))};
  };
  const auto load_x = [&](int chunk, int tile) {
    const int at = chunk * kChunk + 8 * t;
    const int64_t token = 8 * tile + g;
    return token < a.m && at < k ? *reinterpret_cast<const uint4*>(a.x + token * a.k + at) : make_uint4(0, 0, 0, 0);
  };
  allow_next_kernel();
  Chunk ring[kDepth];
#pragma unroll
  for (int i = 0; i < kDepth; ++i) ring[i] = load(warp + i * kWarps);
  wait_for_previous_kernel();

  float acc[kTiles][4] = {};
  for (int first = warp; first < chunks; first += kDepth * kWarps) {
#pragma unroll
    for (int i = 0; i < kDepth; ++i) {
      const int chunk = first + i * kWarps;
      uint4 x[kTiles];
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) x[tile] = load_x(chunk, tile);
      const Chunk w = ring[i];
      ring[i] = load(chunk + kDepth * kWarps);
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        const uint32_t rows[4] = {word(w.upper, 2 * step), word(w.lower, 2 * step), word(w.upper, 2 * step + 1),
                                  word(w.lower, 2 * step + 1)};
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile)
          mma<__half>(acc[tile], rows, word(x[tile], 2 * step), word(x[tile], 2 * step + 1));
      }
    }
  }
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
    for (int e = 0; e < 4; ++e) sums[warp][8 * tile + 2 * t + e % 2][g + 8 * (e / 2)] = acc[tile][e];
  __syncthreads();
  for (int i = threadIdx.x; i < a.m * kRows; i += kThreads) {
    const int token = i / kRows, r = i % kRows;
    if (row + r >= a.n) continue;
    float sum = a.bias == nullptr ? 0.f : __half2float(a.bias[row + r]);
#pragma unroll
    for (int w = 0; w < kWarps; ++w) sum += sums[w][token][r];
    auto* const to = static_cast<Y*>(a.y) + token * a.n + row + r;
    if constexpr (sizeof(Y) == 4)
      *to = sum;
    else
      *to = __float2half_rn(sum);
  }
}

cudaError_t launch_gemv(const DenseArgs& a, const LaunchTarget& on) {
  const dim3 grid(static_cast<unsigned>((a.n + kRows - 1) / kRows));
  const auto launch = [&](auto* kernel) { return launch_kernel(kernel, grid, kThreads, 0, on.stream, on.overlap, a); };
  if (a.m <= 8) return a.wide ? launch(dense_gemv<1, float>) : launch(dense_gemv<1, __half>);
  return a.wide ? launch(dense_gemv<2, float>) : launch(dense_gemv<2, __half>);
}

DenseArgs rows_from(const DenseArgs& a, int64_t first, int64_t count) {
  DenseArgs part = a;
  part.m = count;
  part.x = a.x + first * a.k;
  part.y = static_cast<std::byte*>(a.y) + static_cast<size_t>(first * a.n) * (a.wide ? sizeof(float) : sizeof(__half));
  return part;
}

cudaError_t launch_cublaslt(const DenseArgs& a, void* workspace, const LaunchTarget& on) {
  multiply({.m = a.m,
            .n = a.n,
            .k = a.k,
            .y_type = a.wide ? CUDA_R_32F : CUDA_R_16F,
            .x = a.x,
            .w = a.w,
            .y = a.y,
            .workspace = workspace,
            .stream = on.stream});
  if (a.bias == nullptr) return cudaGetLastError();
  return launch_add_bias(static_cast<__half*>(a.y), a.bias, a.m, a.n, on);
}

bool takes_cublaslt(int64_t m) { return m > kFewDenseRows && why_no_cublaslt().empty(); }

}  // namespace

const char* dense_kernel(int64_t m) { return takes_cublaslt(m) ? "cublaslt_f16" : "dense_gemv_f16"; }

cudaError_t multiply_dense(const DenseArgs& a, void* workspace, const LaunchTarget& on) {
  const bool wide_bias = a.wide && a.bias != nullptr;  // what no model asks for has no kernel of its own
  if (takes_cublaslt(a.m) && !wide_bias) return launch_cublaslt(a, workspace, on);
  for (int64_t first = 0; first < a.m; first += kFewDenseRows) {
    const DenseArgs part = rows_from(a, first, std::min(kFewDenseRows, a.m - first));
    const cudaError_t status = takes_stream(part, on) ? launch_stream(part, on) : launch_gemv(part, on);
    if (status != cudaSuccess) return status;
  }
  return cudaSuccess;
}

}  // namespace awq::backend::cuda
