// Reading weights of any stored type in a kernel.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "backend/cuda/quant/stored.h"

namespace awq::backend::cuda::quant {

__device__ __forceinline__ float widen(float v) { return v; }
__device__ __forceinline__ float widen(__half v) { return __half2float(v); }
__device__ __forceinline__ float widen(__nv_bfloat16 v) { return __bfloat162float(v); }

// kCount neighbours in one load; `from` is aligned to all of them.
template <int kCount, class T>
__device__ __forceinline__ void load_widened(const T* from, float (&to)[kCount]) {
  struct alignas(sizeof(T) * kCount) Pack {
    T v[kCount];
  };
  const Pack pack = *reinterpret_cast<const Pack*>(from);
#pragma unroll
  for (int i = 0; i < kCount; ++i) to[i] = widen(pack.v[i]);
}

// Calls body(typed pointer to the weights).
template <class Body>
auto with_type(const Weight& w, const Body& body) {
  switch (w.type) {
    case Stored::kF32: return body(static_cast<const float*>(w.data));
    case Stored::kF16: return body(static_cast<const __half*>(w.data));
    default: return body(static_cast<const __nv_bfloat16*>(w.data));
  }
}

inline unsigned blocks_for(int64_t items, int64_t per_block) {
  return static_cast<unsigned>((items + per_block - 1) / per_block);
}

}  // namespace awq::backend::cuda::quant
