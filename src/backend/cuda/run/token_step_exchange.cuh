// How blocks of the grid hand numbers to each other: a number is its own flag.
//
// What nobody has written reads kUnset, bits that no result has. Who needs it loads until they are gone: a store's way
// to L2 and a load's way back. (Barriers of the grid, with a release before and an acquire after, took 3,200 to 6,200
// cycles each, five times 88,000 a block of the model; one H200, 2026-11-22.)
//
// There are two copies, used in turn by one block of the model after the other, from launch to launch. While O of block
// i is multiplied, finishers clear the copy of block i + 1:
//
//   nobody needs any more what it holds   it is of block i - 1, and the input of O depends on all who read that
//   nobody has written to it yet          what block i + 1 makes depends on all rows of O
//   nobody takes the old for the new      a finisher's fence stands between clearing and its rows of O, a reader's
//                                         between these and the next block. Every block of the grid reads them, because
//                                         the grid has no more blocks than gate and up have tiles
#pragma once
#include <cuda_fp16.h>

#include <cstdint>

#include "backend/cuda/kernels/fragments.cuh"
#include "backend/cuda/run/token_step.h"

namespace awq::backend::cuda {

inline constexpr uint32_t kUnset = 0xffffffff;  // a float, or two halves: NaNs that no instruction returns

__device__ __forceinline__ uint32_t load_relaxed(const uint32_t* from) {
  uint32_t v;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(from) : "memory");
  return v;
}
__device__ __forceinline__ uint2 load_relaxed(const uint2* from) {
  uint2 v;
  asm volatile("ld.relaxed.gpu.global.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from) : "memory");
  return v;
}
__device__ __forceinline__ uint4 load_relaxed(const uint4* from) {
  uint4 v;
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from)
               : "memory");
  return v;
}
__device__ __forceinline__ void store_relaxed(uint4* to, const uint4& v) {
  asm volatile("st.relaxed.gpu.global.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
               : "memory");
}
__device__ __forceinline__ void prefetch_to_l2(const void* p, int bytes) {  // both multiples of 16
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(p), "r"(bytes) : "memory");
}
__device__ __forceinline__ void fence_grid() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }

// A NaN that came out of a checkpoint may have the bits of kUnset.
__device__ __forceinline__ uint32_t known(uint32_t word) { return word == kUnset ? 0x7fff7fff : word; }

// A float, two of them, or two halves: at a multiple of their size.
__device__ __forceinline__ void publish(float* to, float v) {
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(to), "r"(known(__float_as_uint(v))) : "memory");
}
__device__ __forceinline__ void publish(float* to, float a, float b) {
  asm volatile("st.relaxed.gpu.global.v2.u32 [%0], {%1,%2};" ::"l"(to), "r"(known(__float_as_uint(a))),
               "r"(known(__float_as_uint(b)))
               : "memory");
}
__device__ __forceinline__ void publish(__half* to, float a, float b) {
  const uint32_t word = bits(__floats2half2_rn(a, b));
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(to), "r"(known(word)) : "memory");
}

// kUnset if a word of it is.
__device__ __forceinline__ uint32_t most_of(uint2 v) { return max(v.x, v.y); }
__device__ __forceinline__ uint32_t most_of(uint4 v) { return max(max(v.x, v.y), max(v.z, v.w)); }

// v[i] = from[i * step], as soon as all of it is there; at once if not `in_exchange`. Those with i * step >= end are
// zero.
template <int kCount, class Vector>
__device__ __forceinline__ void receive(Vector (&v)[kCount], const Vector* from, int step, int end,
                                        bool in_exchange = true) {
  uint32_t most;
  do {
    most = 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      v[i] = Vector{};
      if (i * step < end) v[i] = load_relaxed(from + i * step);
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) most = max(most, most_of(v[i]));
  } while (most == kUnset && in_exchange);
}

// One lane asks alone until the word is there. It costs a way to L2 and back; where much is waited for, or for long,
// all threads of a grid that ask would take from the weights what L2 can give.
__device__ __forceinline__ void wait_for(const void* word) {
  if (threadIdx.x % 32 == 0)
    while (load_relaxed(static_cast<const uint32_t*>(word)) == kUnset) {
    }
  __syncwarp();
}

// What one block of the model makes.
struct StepCopy {
  unsigned char* from;
  const StepExchange& at;

  // turn: blocks of the model before it, of all launches
  __device__ __forceinline__ StepCopy(const TokenStepArgs& a, uint32_t turn)
      : from(a.exchange + turn % 2 * a.exchange_at.bytes), at(a.exchange_at) {}

  __device__ __forceinline__ __half* qkv() const { return reinterpret_cast<__half*>(from + at.qkv); }
  __device__ __forceinline__ float* partials() const { return reinterpret_cast<float*>(from + at.partials); }
  __device__ __forceinline__ __half* attended() const { return reinterpret_cast<__half*>(from + at.attended); }
  __device__ __forceinline__ float* middle() const { return reinterpret_cast<float*>(from + at.middle); }  // behind O
  __device__ __forceinline__ __half* activated() const { return reinterpret_cast<__half*>(from + at.activated); }
  __device__ __forceinline__ float* hidden() const { return reinterpret_cast<float*>(from + at.hidden); }
};

// Clears share `rank` of `shares` of the next block's copy. One warp.
__device__ __forceinline__ void clear_next(const TokenStepArgs& a, uint32_t turn, int rank, int shares) {
  auto* const to = reinterpret_cast<uint4*>(a.exchange + (turn + 1) % 2 * a.exchange_at.bytes);
  for (int i = rank * 32 + threadIdx.x % 32; i < a.exchange_at.bytes / 16; i += shares * 32)
    store_relaxed(to + i, make_uint4(kUnset, kUnset, kUnset, kUnset));
  fence_grid();
}

}  // namespace awq::backend::cuda
