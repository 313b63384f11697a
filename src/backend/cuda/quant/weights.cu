// Weights of one linear: checked and copied to float16 when they arrive, averaged for the search, packed at the end.
//
// All of it is bandwidth: 218 M weights of a Llama-3-8B block are read (2 B) and written as float16 (2 B) once,
// averaged over in two readings, packed in two readings and one byte written: 2.9 GB a block, 0.7 ms at 4.3 TB/s.
#include <algorithm>

#include "backend/cuda/kernels/rounding.cuh"
#include "backend/cuda/quant/stored.cuh"
#include "backend/cuda/quant/weights_launch.h"

namespace awq::backend::cuda::quant {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int64_t kSumRows = 256;  // rows that one thread adds up: 56 parts for 14,336 rows

template <class T>
__global__ void __launch_bounds__(kThreads) inspect_weights(const T* w, int64_t count, __half* f16, Inspection* found) {
  unsigned long long bad = 0, first = ~0ull;
  unsigned int largest = 0;
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    const float v = widen(w[i]);
    if (f16 != nullptr) f16[i] = __float2half_rn(v);
    const unsigned int bits = __float_as_uint(v) & 0x7fffffffu;
    if (bits < 0x7f800000u) {
      largest = max(largest, bits);
      continue;
    }
    ++bad;
    first = min(first, static_cast<unsigned long long>(i));
  }
  if (bad != 0) {
    atomicAdd(&found->bad, bad);
    atomicMin(&found->first_bad, first);
  }
  for (int distance = 16; distance > 0; distance /= 2)
    largest = max(largest, __shfl_xor_sync(0xffffffffu, largest, distance));
  if (threadIdx.x % 32 == 0) atomicMax(&found->largest_bits, largest);
}

// A warp a group.
template <class T>
__global__ void __launch_bounds__(kThreads)
    invert_largest(const T* w, int64_t k, int64_t group, int64_t count, float* inverse) {
  const int64_t index = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32, groups = k / group;
  if (index >= count) return;
  const T* from = w + index / groups * k + index % groups * group;
  float largest = 0;
  for (int64_t i = threadIdx.x % 32; i < group; i += 32) largest = fmaxf(largest, fabsf(widen(from[i])));
  largest = warp_max(largest);
  if (threadIdx.x % 32 == 0) inverse[index] = __fdiv_rn(1.f, __fadd_rn(largest, 1e-6f));
}

// A thread a column, a block row of the grid kSumRows rows: the order of additions is fixed.
template <class T>
__global__ void __launch_bounds__(kThreads)
    sum_columns(const T* w, int64_t n, int64_t k, const float* inverse, int64_t group, double* partial) {
  const int64_t c = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (c >= k) return;
  const int64_t first = blockIdx.y * kSumRows, last = min(first + kSumRows, n), groups = inverse ? k / group : 0;
  double sum = 0;
  for (int64_t r = first; r < last; ++r) {
    const float v = widen(w[r * k + c]);
    sum += inverse == nullptr ? __fmul_rn(v, v) : __fmul_rn(fabsf(v), inverse[r * groups + c / group]);
  }
  partial[blockIdx.y * k + c] = sum;
}

__global__ void __launch_bounds__(kThreads) add_parts(const double* partial, int64_t parts, int64_t k, double* sum) {
  const int64_t c = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (c >= k) return;
  double total = sum[c];
  for (int64_t part = 0; part < parts; ++part) total += partial[part * k + c];
  sum[c] = total;
}

template <class T>
struct FoldedWeight {
  const T* w;
  Folding folding;
  int64_t k;
  __device__ float at(int64_t r, int64_t c) const {
    float v = widen(w[r * k + c]);
    if (folding.columns != nullptr) v = __fmul_rn(v, folding.columns[c]);
    if (folding.rows != nullptr) v = __fdiv_rn(v, folding.rows[r]);
    return v;
  }
};

// A warp a group, in two passes; neither unrolled: where weights are divided by row that spills (12.0).
template <class T>
__global__ void __launch_bounds__(kThreads)
    pack_groups(FoldedWeight<T> w, int64_t count, GroupGrid grid, const float* limits, PackedArrays out) {
  const int64_t index = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32, groups = w.k / grid.group;
  if (index >= count) return;
  const int64_t r = index / groups, first = index % groups * grid.group;
  const int lane = static_cast<int>(threadIdx.x % 32);
  float low = 0, high = 0, limit = kNoLimit;
#pragma unroll 1
  for (int64_t i = lane; i < grid.group; i += 32) {
    const float v = w.at(r, first + i);
    low = fminf(low, v);
    high = fmaxf(high, v);
  }
  if (limits != nullptr) limit = limits[index];
  if (limits != nullptr && w.folding.rows != nullptr) limit = __fdiv_rn(limit, w.folding.rows[r]);
  const FittedGroup g = fit_group(warp_min(low), warp_max(high), limit, grid.symmetric);
#pragma unroll 1
  for (int64_t i = lane; i < grid.group; i += 32)
    out.q[r * w.k + first + i] =
        static_cast<uint8_t>(code_of(w.at(r, first + i), limit, __half2float(g.scale), g.zero));
  if (lane != 0) return;
  out.scales[index] = g.scale;
  out.zeros[index] = static_cast<uint8_t>(g.zero);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    subtract_dequantized(FoldedWeight<T> w, int64_t n, GroupGrid grid, PackedArrays q, const int32_t* channels,
                         int64_t count, __half* delta) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= count * n) return;
  const int64_t c = channels[index / n], r = index % n, g = r * (w.k / grid.group) + c / grid.group;
  const int code = static_cast<int>(q.q[r * w.k + c]) - static_cast<int>(q.zeros[g]);
  const float dequantized = __fmul_rn(static_cast<float>(code), __half2float(q.scales[g]));
  delta[index] = __float2half_rn(__fsub_rn(w.at(r, c), dequantized));
}

template <class T>
__global__ void __launch_bounds__(kThreads) write_folded(FoldedWeight<T> w, int64_t count, float* out) {
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) out[i] = w.at(i / w.k, i % w.k);
}

template <class T>
FoldedWeight<T> folded(const T* w, const Folding& folding, int64_t k) {
  return {w, folding, k};
}

unsigned streaming_blocks(int64_t count) { return std::min(blocks_for(count, kThreads), 4096u); }

}  // namespace

cudaError_t inspect(const Weight& w, __half* f16, Inspection* found, cudaStream_t stream) {
  return with_type(w, [&](const auto* data) {
    inspect_weights<<<streaming_blocks(w.n * w.k), kThreads, 0, stream>>>(data, w.n * w.k, f16, found);
    return cudaGetLastError();
  });
}

cudaError_t inverse_largest(const Weight& w, int64_t group, float* inverse, cudaStream_t stream) {
  return with_type(w, [&](const auto* data) {
    const int64_t count = w.n * (w.k / group);
    invert_largest<<<blocks_for(count, kWarps), kThreads, 0, stream>>>(data, w.k, group, count, inverse);
    return cudaGetLastError();
  });
}

int64_t column_sum_parts(int64_t n) { return (n + kSumRows - 1) / kSumRows; }

cudaError_t add_column_sums(const Weight& w, const float* inverse, int64_t group, double* partial, double* sum,
                            cudaStream_t stream) {
  return with_type(w, [&](const auto* data) {
    const dim3 grid(blocks_for(w.k, kThreads), static_cast<unsigned>(column_sum_parts(w.n)));
    sum_columns<<<grid, kThreads, 0, stream>>>(data, w.n, w.k, inverse, group, partial);
    add_parts<<<grid.x, kThreads, 0, stream>>>(partial, grid.y, w.k, sum);
    return cudaGetLastError();
  });
}

cudaError_t pack(const Weight& w, const Folding& folding, const float* limits, const GroupGrid& grid,
                 const PackedArrays& out, cudaStream_t stream) {
  return with_type(w, [&](const auto* data) {
    const int64_t count = w.n * (w.k / grid.group);
    pack_groups<<<blocks_for(count, kWarps), kThreads, 0, stream>>>(folded(data, folding, w.k), count, grid, limits,
                                                                    out);
    return cudaGetLastError();
  });
}

cudaError_t salient_delta(const Weight& w, const Folding& folding, const GroupGrid& grid, const PackedArrays& q,
                          const int32_t* channels, int64_t count, __half* delta, cudaStream_t stream) {
  return with_type(w, [&](const auto* data) {
    subtract_dequantized<<<blocks_for(count * w.n, kThreads), kThreads, 0, stream>>>(folded(data, folding, w.k), w.n,
                                                                                     grid, q, channels, count, delta);
    return cudaGetLastError();
  });
}

cudaError_t fold_weight(const Weight& w, const Folding& folding, float* out, cudaStream_t stream) {
  return with_type(w, [&](const auto* data) {
    write_folded<<<streaming_blocks(w.n * w.k), kThreads, 0, stream>>>(folded(data, folding, w.k), w.n * w.k, out);
    return cudaGetLastError();
  });
}

}  // namespace awq::backend::cuda::quant
