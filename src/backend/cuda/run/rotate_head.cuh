// One head of q or k on its way from the projection to attention: RMS norm over the head where the model has one, then
// the rotation of the pairs (x[i], x[i + d / 2]). One warp.
#pragma once
#include <cuda_fp16.h>

#include "backend/cuda/run/block_sum.cuh"

namespace awq::backend::cuda {

struct HeadNorm {
  const float* weight;  // (d) or null
  float eps;
};

inline constexpr int kPairsALane = 4;  // d <= 256

// `rope`: cosine and sine of each pair at the token's position. `to` may be x.
__device__ __forceinline__ void rotate_head(const __half* x, int d, const HeadNorm& norm, const float2* rope, int lane,
                                            __half* to) {
  const int half = d / 2;
  float a[kPairsALane], b[kPairsALane], squares = 0.f;
#pragma unroll
  for (int p = 0; p < kPairsALane; ++p) {
    const int i = lane + 32 * p;
    a[p] = i < half ? __half2float(x[i]) : 0.f;
    b[p] = i < half ? __half2float(x[i + half]) : 0.f;
    squares += a[p] * a[p] + b[p] * b[p];
  }
  const float scale = norm.weight == nullptr ? 1.f : 1.f / sqrtf(warp_sum(squares) / static_cast<float>(d) + norm.eps);
#pragma unroll
  for (int p = 0; p < kPairsALane; ++p) {
    const int i = lane + 32 * p;
    if (i >= half) continue;
    if (norm.weight != nullptr) a[p] *= scale * norm.weight[i], b[p] *= scale * norm.weight[i + half];
    const float2 turn = rope[i];
    to[i] = __float2half_rn(a[p] * turn.x - b[p] * turn.y);
    to[i + half] = __float2half_rn(b[p] * turn.x + a[p] * turn.y);
  }
}

}  // namespace awq::backend::cuda
