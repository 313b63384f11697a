// What a decoder block does to single rows between its linears: a few kilobytes at one token, so latency decides and
// not bandwidth; at a prompt of 2048 tokens 16 to 120 MB each, 4 to 30 us at 4.3 TB/s. The residual stream is float32,
// everything that a linear reads or writes is f16.
#include <algorithm>

#include "backend/cuda/kernels/fragments.cuh"
#include "backend/cuda/kernels/launch_kernel.h"
#include "backend/cuda/kernels/silu.cuh"
#include "backend/cuda/run/block_sum.cuh"
#include "backend/cuda/run/row_kernels.h"

namespace awq::backend::cuda {
namespace {

struct Half4 {
  __half2 low, high;
};

__device__ __forceinline__ float4 widen(Half4 h) {
  const float2 low = __half22float2(h.low), high = __half22float2(h.high);
  return make_float4(low.x, low.y, high.x, high.y);
}

__device__ __forceinline__ Half4 narrow(float4 v) { return {__floats2half2_rn(v.x, v.y), __floats2half2_rn(v.z, v.w)}; }

__global__ void embed(EmbedArgs a) {
  __shared__ StepRow row;
  wait_for_previous_kernel();
  if (threadIdx.x == 0) {
    row = a.rows[blockIdx.x];
    a.rows_out[blockIdx.x] = row;
  }
  __syncthreads();
  allow_next_kernel();
  const auto* from = reinterpret_cast<const Half4*>(a.embedding + row.token * a.n);
  auto* to = reinterpret_cast<float4*>(a.hidden + blockIdx.x * a.n);
  for (int64_t i = threadIdx.x; i < a.n / 4; i += blockDim.x) to[i] = widen(from[i]);
}

// A block a row, which it keeps in shared memory between the two passes. So it does the weights, which come from beyond
// L2 once a token: read while the kernel before ends, they cost nothing. A thread reads what it wrote itself.
__global__ void add_norm(AddNormArgs a) {
  extern __shared__ float4 sums[];  // (n / 4), and as many weights
  if (!a.in_order) allow_next_kernel();
  float4* const weight = sums + a.n / 4;
  for (int i = threadIdx.x; i < a.n / 4; i += blockDim.x) weight[i] = reinterpret_cast<const float4*>(a.weight)[i];
  wait_for_previous_kernel();
  if (a.in_order) allow_next_kernel();
  const int64_t from = a.picked == nullptr ? blockIdx.x : a.picked[blockIdx.x];
  auto* hidden = reinterpret_cast<float4*>(a.hidden + from * a.n);
  const auto* y = a.y == nullptr ? nullptr : reinterpret_cast<const Half4*>(a.y + from * a.n);
  const int count = static_cast<int>(a.n / 4);
  float squares = 0.f;
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    float4 v = hidden[i];
    if (y != nullptr) {
      const float4 add = widen(y[i]);
      v = make_float4(v.x + add.x, v.y + add.y, v.z + add.z, v.w + add.w);
      if (a.picked == nullptr) hidden[i] = v;
    }
    sums[i] = v;
    squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
  const float scale = 1.f / sqrtf(block_sum(squares) / static_cast<float>(a.n) + a.eps);
  auto* out = reinterpret_cast<Half4*>(a.out + blockIdx.x * a.n);
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    const float4 v = sums[i], w = weight[i];
    out[i] = narrow(make_float4(v.x * scale * w.x, v.y * scale * w.y, v.z * scale * w.z, v.w * scale * w.w));
  }
}

__device__ __forceinline__ __half2 silu_times_pair(__half2 gate, __half2 up) {
  const float2 g = __half22float2(gate), u = __half22float2(up);
  return __floats2half2_rn(silu_times(g.x, u.x), silu_times(g.y, u.y));
}

__global__ void silu_mul(const __half* gate_up, __half* out, int64_t m, int64_t n) {
  allow_next_kernel();
  wait_for_previous_kernel();
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < m * n / 8; i += step) {
    const auto* const both = reinterpret_cast<const uint4*>(gate_up) + 2 * i;
    const uint4 g = both[0], u = both[1];
    uint4 y;
    y.x = bits(silu_times_pair(as_half2(g.x), as_half2(u.x)));
    y.y = bits(silu_times_pair(as_half2(g.y), as_half2(u.y)));
    y.z = bits(silu_times_pair(as_half2(g.z), as_half2(u.z)));
    y.w = bits(silu_times_pair(as_half2(g.w), as_half2(u.w)));
    reinterpret_cast<uint4*>(out)[i] = y;
  }
}

__global__ void add_bias(__half* y, const __half* bias, int64_t m, int64_t n) {
  allow_next_kernel();
  wait_for_previous_kernel();
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < m * n; i += step)
    y[i] = __float2half_rn(__half2float(y[i]) + __half2float(bias[i % n]));
}

dim3 blocks(int64_t count) { return dim3(static_cast<unsigned>(count)); }

// Threads for n numbers, four each: as many as can work, so that a row passes through in one go where it fits.
int threads_for_row(int64_t n) { return static_cast<int>(std::clamp<int64_t>((n / 4 + 31) / 32 * 32, 32, 1024)); }

// Blocks for `items` of independent work, a few rounds at most.
dim3 blocks_for(int64_t items, int threads, const LaunchTarget& on) {
  return blocks(std::clamp<int64_t>((items + threads - 1) / threads, 1, int64_t{16} * on.sms));
}

}  // namespace

cudaError_t launch_embed(const EmbedArgs& a, const LaunchTarget& on) {
  return launch_kernel(embed, blocks(a.m), std::min(threads_for_row(a.n), 256), 0, on.stream, false, a);
}

cudaError_t launch_add_norm(const AddNormArgs& a, const LaunchTarget& on) {
  return launch_kernel(add_norm, blocks(a.m), threads_for_row(a.n), static_cast<size_t>(a.n) * 2 * sizeof(float),
                       on.stream, on.overlap, a);
}

cudaError_t launch_silu_mul(const __half* gate_up, __half* out, int64_t m, int64_t n, const LaunchTarget& on) {
  constexpr int kThreads = 128;
  return launch_kernel(silu_mul, blocks_for(m * n / 8, kThreads, on), kThreads, 0, on.stream, on.overlap, gate_up, out,
                       m, n);
}

cudaError_t launch_add_bias(__half* y, const __half* bias, int64_t m, int64_t n, const LaunchTarget& on) {
  constexpr int kThreads = 256;
  return launch_kernel(add_bias, blocks_for(m * n, kThreads, on), kThreads, 0, on.stream, on.overlap, y, bias, m, n);
}

}  // namespace awq::backend::cuda
