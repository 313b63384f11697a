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

inline constexpr int kPairsALane = 4;  // of heads with d <= 256

// Cosine and sine of a lane's pairs at one position: `rope` has d / 2 of them; d <= 64 kPairs.
template <int kPairs = kPairsALane>
struct HeadTurn {
  float2 of[kPairs];

  __device__ __forceinline__ HeadTurn(const float2* rope, int d, int lane) {
#pragma unroll
    for (int p = 0; p < kPairs; ++p) of[p] = lane + 32 * p < d / 2 ? rope[lane + 32 * p] : make_float2(1.f, 0.f);
  }
};

template <int kPairs = kPairsALane>
struct HeadPairs {
  float a[kPairs], b[kPairs];

  __device__ __forceinline__ void load(const __half* x, int d, int lane) {
#pragma unroll
    for (int p = 0; p < kPairs; ++p) {
      const int i = lane + 32 * p;
      a[p] = i < d / 2 ? __half2float(x[i]) : 0.f;
      b[p] = i < d / 2 ? __half2float(x[i + d / 2]) : 0.f;
    }
  }

  __device__ __forceinline__ void norm(int d, const HeadNorm& norm, int lane) {
    float squares = 0.f;
#pragma unroll
    for (int p = 0; p < kPairs; ++p) squares += a[p] * a[p] + b[p] * b[p];
    const float scale = 1.f / sqrtf(warp_sum(squares) / static_cast<float>(d) + norm.eps);
#pragma unroll
    for (int p = 0; p < kPairs; ++p) {
      const int i = lane + 32 * p;
      if (i < d / 2) a[p] *= scale * norm.weight[i], b[p] *= scale * norm.weight[i + d / 2];
    }
  }

  __device__ __forceinline__ void rotate(int d, const HeadNorm& by, const HeadTurn<kPairs>& turn, int lane,
                                         __half* to) {
    if (by.weight != nullptr) norm(d, by, lane);
#pragma unroll
    for (int p = 0; p < kPairs; ++p) {
      const int i = lane + 32 * p;
      if (i >= d / 2) continue;
      to[i] = __float2half_rn(a[p] * turn.of[p].x - b[p] * turn.of[p].y);
      to[i + d / 2] = __float2half_rn(b[p] * turn.of[p].x + a[p] * turn.of[p].y);
    }
  }
};

// `to` may be x.
template <int kPairs>
__device__ __forceinline__ void rotate_head(const __half* x, int d, const HeadNorm& norm, const HeadTurn<kPairs>& turn,
                                            int lane, __half* to) {
  HeadPairs<kPairs> pairs;
  pairs.load(x, d, lane);
  pairs.rotate(d, norm, turn, lane, to);
}

}  // namespace awq::backend::cuda
