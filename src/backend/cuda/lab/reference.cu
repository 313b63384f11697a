#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "backend/cuda/cuda_objects.h"
#include "backend/cuda/lab/reference.h"

namespace awq::backend::cuda::lab {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32, kBlocks = 1024;
constexpr int kTokens = 8;  // a warp: one output feature, 8 tokens, so that a weight is decoded once for 8 products

__device__ double to_double(half v) { return static_cast<double>(__half2float(v)); }
__device__ double to_double(__nv_bfloat16 v) { return static_cast<double>(__bfloat162float(v)); }

__device__ double warp_sum(double v) {
  for (int lane = 16; lane > 0; lane /= 2) v += __shfl_xor_sync(0xffffffffu, v, lane);
  return v;
}

// Grid: x over output features, kWarps a block; y over kTokens compared tokens each.
template <class T>
__global__ void __launch_bounds__(kThreads) forward(double* ref, PlainLinear w, const T* x, TokenSample sample) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= w.n) return;
  const int64_t first = static_cast<int64_t>(blockIdx.y) * kTokens, groups = w.k / w.group;
  const T* x_of[kTokens];
  for (int t = 0; t < kTokens; ++t) {
    const int64_t i = first + t < sample.count ? first + t : sample.count - 1;  // the last rows again: not stored
    x_of[t] = x + sample.token(i) * w.k;
  }
  double sum[kTokens] = {};
  for (int64_t col = threadIdx.x % 32; col < w.k; col += 32) {
    const int64_t g = row * groups + col / w.group;
    const double weight = to_double(static_cast<const half*>(w.s)[g]) * (int{w.q[row * w.k + col]} - int{w.z[g]});
#pragma unroll
    for (int t = 0; t < kTokens; ++t) sum[t] += weight * to_double(x_of[t][col]);
  }
  for (int t = 0; t < kTokens; ++t) {
    const double total = warp_sum(sum[t]);
    if (threadIdx.x % 32 == 0 && first + t < sample.count) ref[(first + t) * w.n + row] = total;
  }
}

template <class T>
__global__ void sum_differences(Difference* sum, const T* y, const double* ref, int64_t n, TokenSample sample) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  double error = 0, reference = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < sample.count * n; i += stride) {
    const double exact = ref[i], off = to_double(y[sample.token(i / n) * n + i % n]) - exact;
    error += off * off;
    reference += exact * exact;
  }
  error = warp_sum(error);
  reference = warp_sum(reference);
  if (threadIdx.x % 32 != 0) return;
  atomicAdd(&sum->squared_error, error);
  atomicAdd(&sum->squared_reference, reference);
}

template <class T>
__global__ void count_not_finite(unsigned long long* count, const T* y, int64_t size) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  unsigned long long found = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += stride)
    found += !isfinite(to_double(y[i]));
  if (found > 0) atomicAdd(count, found);
}

__global__ void differing(unsigned long long* count, const uint16_t* a, const uint16_t* b, int64_t words) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  unsigned long long found = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < words; i += stride)
    found += a[i] != b[i];
  if (found > 0) atomicAdd(count, found);
}

template <class T>
void launch_forward(double* ref, const PlainLinear& w, const void* x, TokenSample sample, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((w.n + kWarps - 1) / kWarps),
                  static_cast<unsigned>((sample.count + kTokens - 1) / kTokens));
  forward<<<grid, kThreads, 0, stream>>>(ref, w, static_cast<const T*>(x), sample);
}

template <class T>
void launch_compare(Difference* sum, const void* y, const double* ref, int64_t n, TokenSample sample,
                    cudaStream_t stream) {
  const T* outputs = static_cast<const T*>(y);
  sum_differences<<<kBlocks, kThreads, 0, stream>>>(sum, outputs, ref, n, sample);
  count_not_finite<<<kBlocks, kThreads, 0, stream>>>(&sum->not_finite, outputs, sample.m * n);
}

}  // namespace

void reference_forward(double* ref, const PlainLinear& w, const void* x, bool bf16, TokenSample sample,
                       cudaStream_t stream) {
  (bf16 ? launch_forward<__nv_bfloat16> : launch_forward<half>)(ref, w, x, sample, stream);
  check_cuda(cudaGetLastError(), "launching the float64 reference");
}

void compare(Difference* sum, const void* y, bool bf16, const double* ref, int64_t n, TokenSample sample,
             cudaStream_t stream) {
  (bf16 ? launch_compare<__nv_bfloat16> : launch_compare<half>)(sum, y, ref, n, sample, stream);
  check_cuda(cudaGetLastError(), "comparing with the float64 reference");
}

void count_differing(unsigned long long* count, const void* a, const void* b, int64_t words, cudaStream_t stream) {
  differing<<<kBlocks, kThreads, 0, stream>>>(count, static_cast<const uint16_t*>(a), static_cast<const uint16_t*>(b),
                                              words);
  check_cuda(cudaGetLastError(), "comparing two outputs");
}

}  // namespace awq::backend::cuda::lab
