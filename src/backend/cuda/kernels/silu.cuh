// silu(gate) * up = gate / (1 + e^-gate) * up, held within f16's range.
#pragma once

namespace awq::backend::cuda {

__device__ __forceinline__ float silu_times(float gate, float up) {
  constexpr float kLargestHalf = 65504.f;
  const float v = gate / (1.f + __expf(-gate)) * up;
  return v > kLargestHalf ? kLargestHalf : v < -kLargestHalf ? -kLargestHalf : v;  // NaN stays NaN
}

}  // namespace awq::backend::cuda
