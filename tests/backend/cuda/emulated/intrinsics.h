// CUDA's built-in variables and functions, as far as the kernels use them and its headers do not have them for the
// host.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <math.h>  // isnan and the like in the global namespace
#include <vector_functions.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "backend/cuda/emulated/collectives.h"
#include "backend/cuda/emulated/grid.h"

namespace awq::emulated {

// translate.py makes calls of the built-in variables: cudaLaunchConfig_t has members of the same names.
inline uint3 threadIdx() { return current->index; }
inline uint3 blockIdx() { return current->block->index; }
inline dim3 blockDim() { return running().block; }
inline dim3 gridDim() { return running().grid; }

}  // namespace awq::emulated

inline void __syncthreads() { awq::emulated::block_barrier("__syncthreads", 0, 0, true); }
inline void __syncwarp(unsigned mask = ~0u) { awq::emulated::ballot("__syncwarp", mask, true); }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
inline void __nanosleep(unsigned) { awq::emulated::pause(); }

template <class T>
T __shfl_sync(unsigned mask, T v, int from, int width = 32) {
  return awq::emulated::shuffle("__shfl_sync", mask, v,
                                [=](int lane) { return lane / width * width + (from & (width - 1)); });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int by, int width = 32) {
  return awq::emulated::shuffle("__shfl_xor_sync", mask, v,
                                [=](int lane) { return (lane ^ by) / width <= lane / width ? lane ^ by : lane; });
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32) {
  return awq::emulated::shuffle("__shfl_down_sync", mask, v, [=](int lane) {
    const int from = lane + static_cast<int>(by);
    return from / width == lane / width ? from : lane;
  });
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32) {
  return awq::emulated::shuffle("__shfl_up_sync", mask, v, [=](int lane) {
    const int from = lane - static_cast<int>(by);
    return from >= lane / width * width ? from : lane;
  });
}
inline unsigned __ballot_sync(unsigned mask, bool vote) { return awq::emulated::ballot("__ballot_sync", mask, vote); }
inline bool __any_sync(unsigned mask, bool vote) { return awq::emulated::ballot("__any_sync", mask, vote) != 0; }
inline bool __all_sync(unsigned mask, bool vote) { return awq::emulated::ballot("__all_sync", mask, !vote) == 0; }
inline unsigned __activemask() { return awq::emulated::current->warp->alive; }

inline size_t __cvta_generic_to_shared(const void* p) { return awq::emulated::shared_address(p); }

template <class T, class Change>
T awq_emulated_atomic(const char* what, T* address, const Change& change) {
  static_assert(sizeof(T) <= 8);
  const auto widen = [](T v) {
    uint64_t bits = 0;
    __builtin_memcpy(&bits, &v, sizeof v);
    return bits;
  };
  const auto narrow = [](uint64_t bits) {
    T v;
    __builtin_memcpy(&v, &bits, sizeof v);
    return v;
  };
  return narrow(awq::emulated::atomic(what, address, sizeof(T),
                                      [&](uint64_t bits) { return widen(static_cast<T>(change(narrow(bits)))); }));
}
template <class T>
T atomicAdd(T* at, std::type_identity_t<T> v) {
  return awq_emulated_atomic("atomicAdd", at, [=](T old) { return old + v; });
}
template <class T>
T atomicMax(T* at, std::type_identity_t<T> v) {
  return awq_emulated_atomic("atomicMax", at, [=](T old) { return old > v ? old : v; });
}
template <class T>
T atomicMin(T* at, std::type_identity_t<T> v) {
  return awq_emulated_atomic("atomicMin", at, [=](T old) { return old < v ? old : v; });
}
template <class T>
T atomicExch(T* at, std::type_identity_t<T> v) {
  return awq_emulated_atomic("atomicExch", at, [=](T) { return v; });
}
template <class T>
T atomicOr(T* at, std::type_identity_t<T> v) {
  return awq_emulated_atomic("atomicOr", at, [=](T old) { return old | v; });
}
template <class T>
T atomicCAS(T* at, std::type_identity_t<T> from, std::type_identity_t<T> to) {
  return awq_emulated_atomic("atomicCAS", at, [=](T old) { return old == from ? to : old; });
}

template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
T __ldca(const T* p) {
  return *p;
}
template <class T>
void __stcg(T* p, std::type_identity_t<T> v) {
  *p = v;
}
template <class T>
void __stcs(T* p, std::type_identity_t<T> v) {
  *p = v;
}

inline uint32_t __float_as_uint(float v) { return std::bit_cast<uint32_t>(v); }
inline int __float_as_int(float v) { return std::bit_cast<int>(v); }
inline float __uint_as_float(uint32_t v) { return std::bit_cast<float>(v); }
inline float __int_as_float(int v) { return std::bit_cast<float>(v); }
inline uint32_t __umulhi(uint32_t a, uint32_t b) { return static_cast<uint32_t>(uint64_t{a} * b >> 32); }
inline int __popc(uint32_t v) { return std::popcount(v); }
inline int __clz(int v) { return std::countl_zero(static_cast<uint32_t>(v)); }
inline int __ffs(int v) { return v == 0 ? 0 : std::countr_zero(static_cast<uint32_t>(v)) + 1; }
inline uint32_t __byte_perm(uint32_t x, uint32_t y, uint32_t select) {
  const uint64_t both = uint64_t{y} << 32 | x;
  uint32_t out = 0;
  for (int i = 0; i < 4; ++i) out |= static_cast<uint32_t>(both >> 8 * (select >> 4 * i & 7) & 0xff) << 8 * i;
  return out;
}

// Roundings to nearest: the emulator is compiled without fused multiply-adds.
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __double2float_rd(double v) {
  const auto nearest = static_cast<float>(v);
  return double{nearest} > v ? std::nextafter(nearest, -INFINITY) : nearest;
}
inline float __expf(float v) { return std::exp(v); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float v) { return 1 / v; }
inline float rsqrtf(float v) { return static_cast<float>(1 / std::sqrt(double{v})); }

// An exact product and one rounding: 22 bits of the product and the sum fit a double but for sums of far different
// sizes, where the smaller one decides nothing.
inline __half __hfma(__half a, __half b, __half c) {
  return __double2half(double{__half2float(a)} * double{__half2float(b)} + double{__half2float(c)});
}
inline __half2 __hfma2(__half2 a, __half2 b, __half2 c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; }

// CUDA's are overloads of the numbers' types, in the global namespace.
template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  return static_cast<T>(b) < static_cast<T>(a) ? static_cast<T>(b) : static_cast<T>(a);
}
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a);
}
