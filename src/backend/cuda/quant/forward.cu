// The row operations of a decoder block for calibration. All are bandwidth: beside the products (1.0e15 flop for
// Llama-3-8B and 65,536 tokens) they move 0.6 MB a token and block, 1.3 TB in all: 0.3 s at 4.3 TB/s.
#include <algorithm>

#include "backend/cuda/quant/forward_launch.h"
#include "backend/cuda/quant/stored.cuh"

namespace awq::backend::cuda::quant {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int64_t kSumRows = 128;  // tokens that one thread adds up
constexpr int kPairs = kMaxHeadDim / 2 / 32;

__device__ float warp_sum(float v) {
  for (int distance = 16; distance > 0; distance /= 2) v += __shfl_xor_sync(0xffffffffu, v, distance);
  return v;
}

// The same in all threads; all must call it. `shared` holds a float a warp.
__device__ float block_sum(float v, float* shared) {
  v = warp_sum(v);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = v;
  __syncthreads();
  float sum = 0;
  for (int w = 0; w < kWarps; ++w) sum += shared[w];
  return sum;
}

__global__ void __launch_bounds__(kThreads)
    rms_norm_row(const float* x, const float* weight, float eps, int64_t cols, __half* y) {
  __shared__ float shared[kWarps];
  const float* row = x + blockIdx.x * cols;
  float squares = 0;
  for (int64_t c = threadIdx.x; c < cols; c += kThreads) squares += row[c] * row[c];
  const float inverse = 1.f / sqrtf(block_sum(squares, shared) / static_cast<float>(cols) + eps);
  for (int64_t c = threadIdx.x; c < cols; c += kThreads)
    y[blockIdx.x * cols + c] = __float2half_rn(row[c] * inverse * weight[c]);
}

// A warp a head of a token; a lane holds pairs lane, lane + 32, ...
__global__ void __launch_bounds__(kThreads) finish_each_head(Heads p) {
  const int64_t index = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (index >= p.tokens * p.heads) return;
  const int lane = static_cast<int>(threadIdx.x % 32), half = static_cast<int>(p.head_dim / 2);
  __half* x = p.x + index * p.head_dim;
  const int64_t head = index % p.heads, position = index / p.heads % p.window;
  const float* bias = p.bias == nullptr ? nullptr : p.bias + head * p.head_dim;
  float low[kPairs], high[kPairs], squares = 0;
#pragma unroll
  for (int j = 0; j < kPairs; ++j) {
    const int i = lane + 32 * j;
    low[j] = high[j] = 0;
    if (i >= half) continue;
    low[j] = __half2float(x[i]) + (bias == nullptr ? 0.f : bias[i]);
    high[j] = __half2float(x[i + half]) + (bias == nullptr ? 0.f : bias[i + half]);
    squares += low[j] * low[j] + high[j] * high[j];
  }
  const float inverse =
      p.norm == nullptr ? 1.f : 1.f / sqrtf(warp_sum(squares) / static_cast<float>(p.head_dim) + p.eps);
#pragma unroll
  for (int j = 0; j < kPairs; ++j) {
    const int i = lane + 32 * j;
    if (i >= half) continue;
    float a = low[j], b = high[j];
    if (p.norm != nullptr) a *= inverse * p.norm[i], b *= inverse * p.norm[i + half];
    float cosine = 1, sine = 0;
    if (p.cos != nullptr) cosine = p.cos[position * half + i], sine = p.sin[position * half + i];
    x[i] = __float2half_rn(a * cosine - b * sine);
    x[i + half] = __float2half_rn(b * cosine + a * sine);
  }
}

__device__ float silu_times(float gate, float up) { return gate / (1.f + expf(-gate)) * up; }

__global__ void __launch_bounds__(kThreads)
    silu_times_up(const __half2* gate, const __half2* up, const float* gate_bias, const float* up_bias, int64_t pairs,
                  int64_t row_pairs, float scale, __half2* out) {
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < pairs; i += step) {
    float2 g = __half22float2(gate[i]), u = __half22float2(up[i]);
    const int64_t c = i % row_pairs * 2;
    if (gate_bias != nullptr) g.x += gate_bias[c], g.y += gate_bias[c + 1];
    if (up_bias != nullptr) u.x += up_bias[c], u.y += up_bias[c + 1];
    out[i] = __floats2half2_rn(scale * silu_times(g.x, u.x), scale * silu_times(g.y, u.y));
  }
}

__global__ void __launch_bounds__(kThreads) add_bias_rows(float* y, const float* bias, int64_t count, int64_t cols) {
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) y[i] += bias[i % cols];
}

__global__ void __launch_bounds__(kThreads)
    sum_magnitudes(const __half* x, int64_t rows, int64_t cols, float* partial) {
  const int64_t c = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (c >= cols) return;
  const int64_t first = blockIdx.y * kSumRows, last = min(first + kSumRows, rows);
  float sum = 0;
  for (int64_t r = first; r < last; ++r) sum += fabsf(__half2float(x[r * cols + c]));
  partial[blockIdx.y * cols + c] = sum;
}

__global__ void __launch_bounds__(kThreads)
    add_parts(const float* partial, int64_t parts, int64_t cols, double scale, double* sum) {
  const int64_t c = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (c >= cols) return;
  double total = 0;
  for (int64_t part = 0; part < parts; ++part) total += partial[part * cols + c];
  sum[c] += scale * total;
}

__device__ double block_sum(double v, double* shared) {  // right in thread 0
  shared[threadIdx.x] = v;
  for (int distance = kThreads / 2; distance > 0; distance /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < distance) shared[threadIdx.x] += shared[threadIdx.x + distance];
  }
  return shared[0];
}

__global__ void __launch_bounds__(kThreads)
    sum_squared_differences(const float* a, const float* b, int64_t count, double* partial) {
  __shared__ double shared[kThreads];
  double sum = 0;
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    const double d = static_cast<double>(a[i]) - b[i];
    sum += d * d;
  }
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) add_partial_sums(const double* partial, int64_t count, double* total) {
  __shared__ double shared[kThreads];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) sum += partial[i];
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) *total += sum;
}

unsigned streaming_blocks(int64_t count) { return std::min(blocks_for(count, kThreads), 4096u); }

}  // namespace

cudaError_t rms_norm(const float* x, const float* weight, float eps, int64_t rows, int64_t cols, __half* y,
                     cudaStream_t stream) {
  rms_norm_row<<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(x, weight, eps, cols, y);
  return cudaGetLastError();
}

cudaError_t finish_heads(const Heads& p, cudaStream_t stream) {
  finish_each_head<<<blocks_for(p.tokens * p.heads, kWarps), kThreads, 0, stream>>>(p);
  return cudaGetLastError();
}

cudaError_t silu_mul(const __half* gate, const __half* up, const float* gate_bias, const float* up_bias, int64_t rows,
                     int64_t cols, float scale, __half* out, cudaStream_t stream) {
  const int64_t pairs = rows * cols / 2;
  silu_times_up<<<streaming_blocks(pairs), kThreads, 0, stream>>>(
      reinterpret_cast<const __half2*>(gate), reinterpret_cast<const __half2*>(up), gate_bias, up_bias, pairs, cols / 2,
      scale, reinterpret_cast<__half2*>(out));
  return cudaGetLastError();
}

cudaError_t add_bias(float* y, const float* bias, int64_t rows, int64_t cols, cudaStream_t stream) {
  add_bias_rows<<<streaming_blocks(rows * cols), kThreads, 0, stream>>>(y, bias, rows * cols, cols);
  return cudaGetLastError();
}

int64_t abs_sum_parts(int64_t rows) { return (rows + kSumRows - 1) / kSumRows; }

cudaError_t add_abs_sums(const __half* x, int64_t rows, int64_t cols, double scale, float* partial, double* sum,
                         cudaStream_t stream) {
  const dim3 grid(blocks_for(cols, kThreads), static_cast<unsigned>(abs_sum_parts(rows)));
  sum_magnitudes<<<grid, kThreads, 0, stream>>>(x, rows, cols, partial);
  add_parts<<<grid.x, kThreads, 0, stream>>>(partial, grid.y, cols, scale, sum);
  return cudaGetLastError();
}

cudaError_t add_squared_difference(const float* a, const float* b, int64_t count, double* partial, double* total,
                                   cudaStream_t stream) {
  sum_squared_differences<<<static_cast<unsigned>(kDifferenceParts), kThreads, 0, stream>>>(a, b, count, partial);
  add_partial_sums<<<1, kThreads, 0, stream>>>(partial, kDifferenceParts, total);
  return cudaGetLastError();
}

}  // namespace awq::backend::cuda::quant
