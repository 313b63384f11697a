// quantize -- one (scale, zero point) a group of w (n, k), then codes, straight into the tile layout. The arithmetic is
// src/format/rounding.cc's, operation for operation, and the results are its bits: `awq quantize` may use either.
//
//   asymmetric   scale = half((max(w, 0) - min(w, 0)) / 15)   zero = round(-min / scale)   q = clamp(round(w / scale) +
//   zero) symmetric    scale = half(max|w| / 7)                     zero = 8
//
// Two passes: fit (a warp takes the two rows that share a byte of zero points), then codes (a thread makes the 16 bytes
// that one lane of a kernel will load).
//
// Roofline, n = k = 4096, f16: w is read twice, 67 MB, and 8.7 MB written: 17.6 us at 4.31 TB/s (H200). One pass would
// save the second reading; at 3.7 ms for all linears of an 8B model there is nothing to win.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "backend/cuda/kernels/epilogue.cuh"
#include "backend/cuda/kernels/rounding.cuh"
#include "backend/cuda/kernels/tile_lane.cuh"
#include "backend/cuda/weights_launch.h"

namespace awq::backend::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
struct Weights {
  int64_t n, k;
  const float* limits;  // (n, k / group) or null
  bool symmetric;
};

__device__ float limit_of(const Weights& p, const TileLayout& to, int64_t row, int64_t g) {
  return p.limits == nullptr ? kNoLimit : p.limits[row * (static_cast<int>(p.k) / to.group) + g];
}

// Scale and zero point of one row's group, the same in all lanes; nothing for padding.
template <class T>
__device__ FittedGroup fit_row(const T* w, const Weights& p, const TileLayout& to, int64_t row, int64_t g) {
  if (row >= p.n || g >= static_cast<int>(p.k) / to.group) return {__float2half_rn(0.f), 0.f};
  float low = 0, high = 0;
  for (int64_t i = threadIdx.x % 32; i < to.group; i += 32) {
    const float v = to_float(w[row * p.k + g * to.group + i]);
    low = fminf(low, v);
    high = fmaxf(high, v);
  }
  return fit_group(warp_min(low), warp_max(high), limit_of(p, to, row, g), p.symmetric);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    fit_groups(const T* w, Weights p, TileLayout to, __half2* scales, uint8_t* zeros) {
  const int64_t index = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (index >= pair_count(to)) return;
  const PairPlace at = pair_place(to, index);
  const FittedGroup lower = fit_row(w, p, to, at.row, at.group), upper = fit_row(w, p, to, at.row + 8, at.group);
  if (threadIdx.x % 32 != 0) return;
  scales[index] = __halves2half2(lower.scale, upper.scale);
  zeros[index] = static_cast<uint8_t>(static_cast<int>(lower.zero) | static_cast<int>(upper.zero) << 4);
}

template <class T>
__device__ int stored_code(const T* w, const Weights& p, const TileLayout& to, const __half* scales,
                           const uint8_t* zeros, Place at) {
  if (at.row >= p.n) return 0;
  const int64_t g = min(static_cast<int>(at.col) / to.group, static_cast<int>(to.groups()) - 1);
  const int zero = zeros[to.zero_byte(at.row, g)] >> TileLayout::zero_shift(at.row) & 15;
  if (at.col >= p.k) return zero;  // padding adds exactly zero
  const float scale = __half2float(scales[to.scale(at.row, g)]);
  return static_cast<int>(
      code_of(to_float(w[at.row * p.k + at.col]), limit_of(p, to, at.row, g), scale, static_cast<float>(zero)));
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    write_codes(const T* w, Weights p, TileLayout to, const __half* scales, const uint8_t* zeros, uint4* q) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= lane_count(to)) return;
  const Place first = lane_place(to, index);
  uint32_t words[kLaneWords] = {};
#pragma unroll
  for (int step = 0; step < kLaneWords; ++step)
#pragma unroll
    for (int i = 0; i < kWordCodes; ++i)
      words[step] |= static_cast<uint32_t>(stored_code(w, p, to, scales, zeros, nibble_place(first, step, i)))
                     << (4 * i);
  q[index] = make_uint4(words[0], words[1], words[2], words[3]);
}

unsigned blocks_for(int64_t items, int per_block) { return static_cast<unsigned>((items + per_block - 1) / per_block); }

template <class T>
cudaError_t quantize_from(const T* w, const Weights& p, const TileArrays& to, cudaStream_t stream) {
  auto* zeros = static_cast<uint8_t*>(to.zeros);
  fit_groups<<<blocks_for(pair_count(to.layout), kWarps), kThreads, 0, stream>>>(
      w, p, to.layout, static_cast<__half2*>(to.scales), zeros);
  write_codes<<<blocks_for(lane_count(to.layout), kThreads), kThreads, 0, stream>>>(
      w, p, to.layout, static_cast<const __half*>(to.scales), zeros, static_cast<uint4*>(to.qweight));
  return cudaGetLastError();
}

}  // namespace

cudaError_t quantize(const void* w, bool bf16, const float* limits, bool symmetric, const TileArrays& to,
                     cudaStream_t stream) {
  const Weights p{to.layout.n, to.layout.k, limits, symmetric};
  return bf16 ? quantize_from(static_cast<const __nv_bfloat16*>(w), p, to, stream)
              : quantize_from(static_cast<const __half*>(w), p, to, stream);
}

}  // namespace awq::backend::cuda
