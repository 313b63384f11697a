// The 4-bit grid on the device: src/format/rounding.cc operation for operation, so that the results are its bits. Every
// operation that rounds is named (_rn): nothing may be contracted.
#pragma once
#include <cuda_fp16.h>

#include <cstdint>

namespace awq::backend::cuda {

constexpr float kMaxCode = 15.f, kMiddle = 8.f;
constexpr float kSmallestRange = 1e-5f;  // a group of zeros still needs a scale that is not 0
constexpr float kNoLimit = __builtin_huge_valf();

// Half to even for |x| < 2^22.
__device__ __forceinline__ float round_even(float x) { return __fsub_rn(__fadd_rn(x, 12582912.f), 12582912.f); }

struct FittedGroup {
  __half scale;
  float zero;
};

// low and high include 0.
__device__ __forceinline__ FittedGroup fit_group(float low, float high, float limit, bool symmetric) {
  low = fmaxf(low, -limit);
  high = fminf(high, limit);
  if (symmetric) {
    const float range = fmaxf(fmaxf(-low, high), kSmallestRange);
    return {__float2half_rn(__fdiv_rn(range, kMiddle - 1)), kMiddle};
  }
  const __half scale = __float2half_rn(__fdiv_rn(fmaxf(__fsub_rn(high, low), kSmallestRange), kMaxCode));
  const float zero = round_even(__fdiv_rn(-low, __half2float(scale)));
  return {scale, fminf(fmaxf(zero, 0.f), kMaxCode)};
}

// 0 .. 15, as a float.
__device__ __forceinline__ float code_of(float w, float limit, float scale, float zero) {
  const float clamped = fminf(fmaxf(w, -limit), limit);
  const float q = __fadd_rn(round_even(__fdiv_rn(clamped, scale)), zero);
  return fminf(fmaxf(q, 0.f), kMaxCode);
}

__device__ __forceinline__ float warp_min(float v) {
  for (int distance = 16; distance > 0; distance /= 2) v = fminf(v, __shfl_xor_sync(0xffffffffu, v, distance));
  return v;
}
__device__ __forceinline__ float warp_max(float v) { return -warp_min(-v); }

}  // namespace awq::backend::cuda
