// The search for scales and limits around its matrix products.
//
//   loss(s) = tr(dW H dW'),  dW = (Q(W s) - W s) / s
//
// With d of normalisers(), D = dW diag(d) and t = diag(1/d) H diag(1/d) both fit float16, whatever outliers the input
// has; d holds powers of two, so that nothing is lost by it. `differences` writes D for all candidates, a tile of rows
// at a time, a matrix product makes P = D t, `add_row_dots` closes the loss.
//
// A weight and candidate: some 40 instructions and 2 bytes written; reading back D (2 B) and P (4 B, from the L2). For
// Llama-3-8B with 40 candidates: 2.8e11 of them, 0.4 s of instructions and 0.5 s of bandwidth beside 3 s of products.
#include <algorithm>

#include "backend/cuda/kernels/rounding.cuh"
#include "backend/cuda/quant/search_launch.h"
#include "backend/cuda/quant/stored.cuh"

namespace awq::backend::cuda::quant {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;

__global__ void __launch_bounds__(kThreads) find_normalisers(const float* gram, int64_t k, float* d) {
  const int64_t j = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (j >= k) return;
  const float h = gram[j * k + j];
  // Below 2^-125 the exponent of h is not what ilogbf says; above 2^126 products of two d would overflow.
  const bool usable = h > 0x1p-100f && h < 0x1p100f;
  d[j] = usable ? ldexpf(1.f, ilogbf(h) >> 1) : 1.f;
}

// A block one row of one block of columns.
__global__ void __launch_bounds__(kThreads) normalise_rows(const float* gram, const float* d, int64_t k, __half* t) {
  const int64_t i = blockIdx.y, j0 = blockIdx.x * kBand, mine = i / kBand * kBand;
  if (j0 > mine) return;
  const float factor = (j0 < mine ? 2.f : 1.f) / d[i];
  for (int64_t j = j0 + threadIdx.x; j < min(j0 + kBand, k); j += kThreads)
    t[i * k + j] = __float2half_rn(gram[i * k + j] * factor / d[j]);
}

__device__ float step_limit(float largest, int64_t step) {
  return __fmul_rn(largest, __fsub_rn(1.f, __fdiv_rn(static_cast<float>(step), 20.f)));
}

// low and high of the whole group.
__device__ float limit_of(const Differences& p, int64_t version, int64_t row, int64_t g, float low, float high) {
  if (p.clamp == Clamp::kSteps) return step_limit(fmaxf(-low, high), version);
  return p.clamp == Clamp::kLimits ? p.limits[(p.first_row + row) * (p.w.k / p.grid.group) + g] : kNoLimit;
}

__device__ float difference(float v, float limit, const FittedGroup& g, float scale, float weigh) {
  const float rounded = __fmul_rn(__fsub_rn(code_of(v, limit, scale, g.zero), g.zero), scale);
  return __fmul_rn(__fsub_rn(rounded, v), weigh);
}

// A warp one group of a row, kPerLane neighbours a lane; a block kWarps rows of the same group, which share the scales.
template <int kPerLane, class T>
__global__ void __launch_bounds__(kThreads) write_differences(const T* w, Differences p) {
  struct alignas(2 * kPerLane) Halves {
    __half v[kPerLane];
  };
  const int64_t row = int64_t{blockIdx.y} * kWarps + threadIdx.x / 32, g = blockIdx.x, k = p.w.k;
  if (row >= p.rows) return;
  const int64_t c = g * p.grid.group + threadIdx.x % 32 * kPerLane;
  float weight[kPerLane];
  load_widened(w + (p.first_row + row) * k + c, weight);
  for (int64_t version = 0; version < p.versions; ++version) {
    float s[kPerLane], weigh[kPerLane], v[kPerLane], low = 0, high = 0;
    load_widened(p.scale + version * p.version_stride + c, s);
    load_widened(p.weigh + version * p.version_stride + c, weigh);
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      v[i] = __fmul_rn(weight[i], s[i]);
      low = fminf(low, v[i]);
      high = fmaxf(high, v[i]);
    }
    low = warp_min(low);
    high = warp_max(high);
    const float limit = limit_of(p, version, row, g, low, high);
    const FittedGroup fitted = fit_group(low, high, limit, p.grid.symmetric);
    const float scale = __half2float(fitted.scale);
    Halves out;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) out.v[i] = __float2half_rn(difference(v[i], limit, fitted, scale, weigh[i]));
    *reinterpret_cast<Halves*>(p.out + (version * p.rows + row) * k + c) = out;
  }
}

// The same for groups of any length, in two passes.
template <class T>
__global__ void __launch_bounds__(kThreads) write_long_differences(const T* w, Differences p) {
  const int64_t row = int64_t{blockIdx.y} * kWarps + threadIdx.x / 32, g = blockIdx.x, k = p.w.k;
  if (row >= p.rows) return;
  const int64_t begin = g * p.grid.group + threadIdx.x % 32, end = (g + 1) * p.grid.group;
  const T* from = w + (p.first_row + row) * k;
  for (int64_t version = 0; version < p.versions; ++version) {
    const float *s = p.scale + version * p.version_stride, *weigh = p.weigh + version * p.version_stride;
    float low = 0, high = 0;
    for (int64_t c = begin; c < end; c += 32) {
      const float v = __fmul_rn(widen(from[c]), s[c]);
      low = fminf(low, v);
      high = fmaxf(high, v);
    }
    low = warp_min(low);
    high = warp_max(high);
    const float limit = limit_of(p, version, row, g, low, high);
    const FittedGroup fitted = fit_group(low, high, limit, p.grid.symmetric);
    const float scale = __half2float(fitted.scale);
    for (int64_t c = begin; c < end; c += 32)
      p.out[(version * p.rows + row) * k + c] =
          __float2half_rn(difference(__fmul_rn(widen(from[c]), s[c]), limit, fitted, scale, weigh[c]));
  }
}

__device__ float warp_sum(float v) {
  for (int distance = 16; distance > 0; distance /= 2) v += __shfl_xor_sync(0xffffffffu, v, distance);
  return v;
}

// A warp a row. cols and first_col are multiples of 8.
__global__ void __launch_bounds__(kThreads) dot_rows(const float* p, const __half* d, int64_t rows, int64_t k,
                                                     int64_t first_col, int64_t cols, double* row_loss) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  const float* from = p + row * kBand;
  const __half* with = d + row * k + first_col;
  float sum = 0;
  for (int64_t c = threadIdx.x % 32 * 4; c < cols; c += 128) {
    float x[4], y[4];
    load_widened(from + c, x);
    load_widened(with + c, y);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum = fmaf(x[i], y[i], sum);
  }
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) row_loss[row] += sum;
}

__global__ void __launch_bounds__(kThreads) sum_rows(const double* row_loss, int64_t rows, double* losses) {
  __shared__ double shared[kThreads];
  double sum = 0;
  for (int64_t r = threadIdx.x; r < rows; r += kThreads) sum += row_loss[blockIdx.x * rows + r];
  shared[threadIdx.x] = sum;
  for (int distance = kThreads / 2; distance > 0; distance /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < distance) shared[threadIdx.x] += shared[threadIdx.x + distance];
  }
  if (threadIdx.x == 0) losses[blockIdx.x] += shared[0];
}

// A warp a group of a row.
template <class T>
__global__ void __launch_bounds__(kThreads) choose_steps(const T* w, BestSteps p) {
  const int64_t row = int64_t{blockIdx.y} * kWarps + threadIdx.x / 32, k = p.d.w.k, group = p.d.grid.group;
  if (row >= p.d.rows) return;
  const int64_t g = p.first_col / group + blockIdx.x, first = g * group, lane = threadIdx.x % 32;
  const T* from = w + (p.d.first_row + row) * k + first;
  float largest = 0;
  for (int64_t i = lane; i < group; i += 32)
    largest = fmaxf(largest, fabsf(__fmul_rn(widen(from[i]), p.d.scale[first + i])));
  largest = warp_max(largest);
  double best = __builtin_huge_val();
  float limit = largest;
  for (int64_t step = 0; step < kClipSteps; ++step) {
    const int64_t at = step * p.d.rows + row;
    double error;
    if (p.row_loss != nullptr) {
      error = p.row_loss[at];
    } else {
      float sum = 0;
      for (int64_t i = lane; i < group; i += 32)
        sum = fmaf(p.p[at * kBand + first - p.first_col + i], __half2float(p.d.out[at * k + first + i]), sum);
      error = warp_sum(sum);
    }
    if (error < best) best = error, limit = step_limit(largest, step);
  }
  if (lane == 0) p.limits[(p.d.first_row + row) * (k / group) + g] = limit;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    round_groups(const T* w, Weight shape, GroupGrid grid, const float* scale, const uint8_t* keep, __half* out) {
  const int64_t row = int64_t{blockIdx.y} * kWarps + threadIdx.x / 32, k = shape.k;
  if (row >= shape.n) return;
  const int64_t begin = blockIdx.x * grid.group + threadIdx.x % 32, end = (blockIdx.x + 1) * grid.group;
  float low = 0, high = 0;
  for (int64_t c = begin; c < end; c += 32) {
    const float v = __fmul_rn(widen(w[row * k + c]), scale[c]);
    low = fminf(low, v);
    high = fmaxf(high, v);
  }
  const FittedGroup g = fit_group(warp_min(low), warp_max(high), kNoLimit, grid.symmetric);
  const float unit = __half2float(g.scale);
  for (int64_t c = begin; c < end; c += 32) {
    const float original = widen(w[row * k + c]);
    const float code = code_of(__fmul_rn(original, scale[c]), kNoLimit, unit, g.zero);
    const float rounded = __fdiv_rn(__fmul_rn(__fsub_rn(code, g.zero), unit), scale[c]);
    out[row * k + c] = __float2half_rn(keep[c] != 0 ? original : rounded);
  }
}

template <int kPerLane>
void launch_differences(const Differences& p, dim3 grid, cudaStream_t stream) {
  with_type(p.w, [&](const auto* data) { write_differences<kPerLane><<<grid, kThreads, 0, stream>>>(data, p); });
}

}  // namespace

cudaError_t normalisers(const float* gram, int64_t k, float* d, cudaStream_t stream) {
  find_normalisers<<<blocks_for(k, kThreads), kThreads, 0, stream>>>(gram, k, d);
  return cudaGetLastError();
}

cudaError_t normalise_gram(const float* gram, const float* d, int64_t k, __half* t, cudaStream_t stream) {
  const dim3 grid(blocks_for(k, kBand), static_cast<unsigned>(k));
  normalise_rows<<<grid, kThreads, 0, stream>>>(gram, d, k, t);
  return cudaGetLastError();
}

cudaError_t differences(const Differences& p, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(p.w.k / p.grid.group), blocks_for(p.rows, kWarps));
  switch (p.grid.group) {
    case 32: launch_differences<1>(p, grid, stream); break;
    case 64: launch_differences<2>(p, grid, stream); break;
    case 128: launch_differences<4>(p, grid, stream); break;
    default: with_type(p.w, [&](const auto* data) { write_long_differences<<<grid, kThreads, 0, stream>>>(data, p); });
  }
  return cudaGetLastError();
}

cudaError_t add_row_dots(const float* p, const __half* d, int64_t rows, int64_t k, int64_t first_col, int64_t cols,
                         double* row_loss, cudaStream_t stream) {
  dot_rows<<<blocks_for(rows, kWarps), kThreads, 0, stream>>>(p, d, rows, k, first_col, cols, row_loss);
  return cudaGetLastError();
}

cudaError_t add_version_losses(const double* row_loss, int64_t versions, int64_t rows, double* losses,
                               cudaStream_t stream) {
  sum_rows<<<static_cast<unsigned>(versions), kThreads, 0, stream>>>(row_loss, rows, losses);
  return cudaGetLastError();
}

cudaError_t best_steps(const BestSteps& p, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(p.cols / p.d.grid.group), blocks_for(p.d.rows, kWarps));
  return with_type(p.d.w, [&](const auto* data) {
    choose_steps<<<grid, kThreads, 0, stream>>>(data, p);
    return cudaGetLastError();
  });
}

cudaError_t round_weight(const Weight& w, const GroupGrid& grid, const float* scale, const uint8_t* keep, __half* out,
                         cudaStream_t stream) {
  const dim3 blocks(static_cast<unsigned>(w.k / grid.group), blocks_for(w.n, kWarps));
  return with_type(w, [&](const auto* data) {
    round_groups<<<blocks, kThreads, 0, stream>>>(data, w, grid, scale, keep, out);
    return cudaGetLastError();
  });
}

}  // namespace awq::backend::cuda::quant
