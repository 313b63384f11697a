// Instructions that the W4A16 kernels share, each with the reason for its form: dequantizing a word of the tile layout
// (tile_layout.h) into operand A, the tensor-core product, and the ways of moving 16 bytes.
//
// Everything is held in 32-bit registers: a pair of halves (f16 or bf16) each.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace awq::backend::cuda {

__device__ __forceinline__ uint32_t bits(__half2 h) { return *reinterpret_cast<uint32_t*>(&h); }
__device__ __forceinline__ uint32_t bits(__nv_bfloat162 h) { return *reinterpret_cast<uint32_t*>(&h); }
__device__ __forceinline__ __half2 as_half2(uint32_t u) { return *reinterpret_cast<__half2*>(&u); }
__device__ __forceinline__ __nv_bfloat162 as_bf162(uint32_t u) { return *reinterpret_cast<__nv_bfloat162*>(&u); }

__device__ __forceinline__ uint32_t word(const uint4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

// (w & mask) | magic in one instruction; nvcc does not always merge the two by itself.
template <uint32_t kMask, uint32_t kMagic>
__device__ __forceinline__ uint32_t nibbles(uint32_t w) {
  uint32_t out;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(out) : "r"(w), "n"(kMask), "n"(kMagic));
  return out;
}

// Zero points of a lane's two rows, in the form that subtracts exactly.
struct Zeros {
  uint32_t upper, lower;  // row g, row g + 8
};

// One word -> the four registers of operand A, q - z exactly (-15 .. 15).
//
// f16: a nibble under the exponent of 1024 reads 1024 + q in the low position and 1024 + 16 q four bits up, where one
// fused multiply-add by 1/16 takes out factor and zero point together. Nine instructions for eight weights.
// bf16 has only 7 bits below the point, so the upper nibbles are shifted down first: eleven.
template <class T>
struct Dequantize;

template <>
struct Dequantize<__half> {
  __device__ static __forceinline__ Zeros zeros(uint32_t byte) {  // z(row g) | z(row g + 8) << 4
    const uint32_t low = (byte & 15) * 0x00010001 | 0x64006400;   // 1024 + z
    const uint32_t high = (byte >> 4) * 0x00100010 | 0xd400d400;  // -(64 + z): an ulp of 64 is 1/16
    return {low, high};
  }
  __device__ static __forceinline__ void word(uint32_t w, Zeros z, uint32_t (&a)[4]) {
    const __half2 sixteenth = as_half2(0x2c002c00);
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      a[i] = bits(__hsub2(as_half2(nibbles<0x000f000f, 0x64006400>(w)), as_half2(z.upper)));
      a[i + 1] = bits(__hfma2(as_half2(nibbles<0x00f000f0, 0x64006400>(w)), sixteenth, as_half2(z.lower)));
      w >>= 8;
    }
  }
};

template <>
struct Dequantize<__nv_bfloat16> {
  __device__ static __forceinline__ Zeros zeros(uint32_t byte) {  // 128 + z
    return {(byte & 15) * 0x00010001 | 0x43004300, (byte >> 4) * 0x00010001 | 0x43004300};
  }
  __device__ static __forceinline__ void word(uint32_t w, Zeros z, uint32_t (&a)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t zero = i % 2 == 0 ? z.upper : z.lower;
      a[i] = bits(__hsub2(as_bf162(nibbles<0x000f000f, 0x43004300>(w)), as_bf162(zero)));
      w >>= 4;
    }
  }
};

// The word as it is, where T can hold it: a masked nibble under no exponent is the subnormal half q * 2^-24 (low
// nibbles, row g) or 16 q * 2^-24 (row g + 8), which tensor cores multiply exactly. Five instructions for eight
// weights; factor and zero point are settled once a group, on the float sum: s 2^24 (sum q x) - s z (sum x).
template <class T>
struct Raw {
  static constexpr bool kZeroLater = false;  // bfloat16: such a product would be a subnormal float
};
template <>
struct Raw<__half> {
  static constexpr bool kZeroLater = true;
  __device__ static __forceinline__ void word(uint32_t w, uint32_t (&a)[4]) {
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      a[i] = w & 0x000f000f;
      a[i + 1] = w & 0x00f000f0;
      w >>= 8;
    }
  }
};

// d += a b: a is 16 x 16 (weights), b 16 x 8 (tokens), d 16 x 8 in float. Before 8.0 the tensor cores take 8 of k at a
// time; the registers are the same.
template <class T>
__device__ __forceinline__ void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
#elif __CUDA_ARCH__ >= 750
#  pragma unroll
  for (int half = 0; half < 2; ++half)
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(half == 0 ? b0 : b1));
#endif
}

// Weights are read once: keep them out of L1, where they would push out x.
__device__ __forceinline__ uint4 load_streaming(const uint4* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}

__device__ __forceinline__ uint32_t smem_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// Four 8 x 8 matrices of halves; lane l gives the address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void ldmatrix4(uint32_t (&r)[4], uint32_t address) {
#if __CUDA_ARCH__ >= 750
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
#endif
}

// The same, each transposed: lane l has column l / 4, rows 2 (l % 4) and the next.
__device__ __forceinline__ void ldmatrix4_transposed(uint32_t (&r)[4], uint32_t address) {
#if __CUDA_ARCH__ >= 750
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
#endif
}

// Four 8 x 8 matrices of halves, transposed on the way; addresses as of ldmatrix4().
__device__ __forceinline__ void stmatrix4_transposed(uint32_t address, const uint32_t (&r)[4]) {
#if __CUDA_ARCH__ >= 900
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(r[0]),
               "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
#endif
}

// 16 bytes from global to shared memory without a register, past L1; `bytes` 0 writes zeros. Before 8.0: through one.
__device__ __forceinline__ void copy16(uint32_t to, const void* from, int bytes) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
#else
  uint4 v = make_uint4(0, 0, 0, 0);
  if (bytes != 0) v = *static_cast<const uint4*>(from);
  asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
#endif
}
__device__ __forceinline__ void copy8(uint32_t to, const void* from) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(to), "l"(from) : "memory");
#else
  const uint2 v = *static_cast<const uint2*>(from);
  asm volatile("st.shared.v2.u32 [%0], {%1,%2};" ::"r"(to), "r"(v.x), "r"(v.y) : "memory");
#endif
}
__device__ __forceinline__ void load_shared16(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address));
}
__device__ __forceinline__ void store_shared16(uint32_t address, const float (&v)[4]) {
  asm volatile("st.shared.v4.f32 [%0], {%1,%2,%3,%4};" ::"r"(address), "f"(v[0]), "f"(v[1]), "f"(v[2]), "f"(v[3])
               : "memory");
}
__device__ __forceinline__ void store_shared_float(uint32_t address, float v) {
  asm volatile("st.shared.f32 [%0], %1;" ::"r"(address), "f"(v) : "memory");
}
__device__ __forceinline__ uint32_t load_shared32(uint32_t address) {
  uint32_t v;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(address));
  return v;
}
__device__ __forceinline__ float2 load_shared_float2(uint32_t address) {
  float2 v;
  asm volatile("ld.shared.v2.f32 {%0,%1}, [%2];" : "=f"(v.x), "=f"(v.y) : "r"(address));
  return v;
}
__device__ __forceinline__ uint32_t load_shared_u8(uint32_t address) {
  uint32_t v;
  asm volatile("ld.shared.u8 %0, [%1];" : "=r"(v) : "r"(address));
  return v;
}
__device__ __forceinline__ void copy_commit() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int kPending>
__device__ __forceinline__ void copy_wait() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

// Programmatic dependent launch (9.0): let the next kernel of the stream start, so that its weights stream while this
// one ends; and wait until all before this one is done and visible. Both are no-ops without the launch attribute.
__device__ __forceinline__ void allow_next_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
__device__ __forceinline__ void wait_for_previous_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

}  // namespace awq::backend::cuda
