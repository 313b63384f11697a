// wgmma (9.0a): d (64 x N, float) += a (64 x 16, registers) * b (16 x N, shared memory), asynchronous, and the barriers
// and copies of tensor maps that feed it. Warp w of the warpgroup owns rows 16w .. 16w+15; its registers of a are those
// of mma.m16n8k16, and d[4i + e] is row g + e/2*8, column 8i + 2t + e%2 for lane 4g + t.
#pragma once
#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace awq::backend::cuda {

#define AWQ_D8(i)                                                                                             \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])
#define AWQ_D32(i) AWQ_D8(i), AWQ_D8(i + 8), AWQ_D8(i + 16), AWQ_D8(i + 24)

// d = a b when `accumulate` is 0. One overload a width: the instruction names its registers one by one. `b` is the
// descriptor of make_descriptor().
// clang-format off
#define AWQ_WGMMA_8(type) \
  asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, %9, 0;\n" \
      " wgmma.mma_async.sync.aligned.m64n8k16.f32." type "." type " {" \
      "%0, %1, %2, %3}, " \
      "{%4, %5, %6, %7}, %8, p, 1, 1, 0;\n}" \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate))
#define AWQ_WGMMA_16(type) \
  asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, %13, 0;\n" \
      " wgmma.mma_async.sync.aligned.m64n16k16.f32." type "." type " {" \
      "%0, %1, %2, %3, %4, %5, %6, %7}, " \
      "{%8, %9, %10, %11}, %12, p, 1, 1, 0;\n}" \
      : AWQ_D8(0) \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate))
#define AWQ_WGMMA_32(type) \
  asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, %21, 0;\n" \
      " wgmma.mma_async.sync.aligned.m64n32k16.f32." type "." type " {" \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, " \
      "{%16, %17, %18, %19}, %20, p, 1, 1, 0;\n}" \
      : AWQ_D8(0), AWQ_D8(8) \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate))
#define AWQ_WGMMA_64(type) \
  asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, %37, 0;\n" \
      " wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type " {" \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, " \
      "{%32, %33, %34, %35}, %36, p, 1, 1, 0;\n}" \
      : AWQ_D32(0) \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate))
#define AWQ_WGMMA_128(type) \
  asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, %69, 0;\n" \
      " wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type " {" \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, " \
      "{%64, %65, %66, %67}, %68, p, 1, 1, 0;\n}" \
      : AWQ_D32(0), AWQ_D32(32) \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate))
#define AWQ_WGMMA_256(type) \
  asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, %133, 0;\n" \
      " wgmma.mma_async.sync.aligned.m64n256k16.f32." type "." type " {" \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, " \
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, " \
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, " \
      "{%128, %129, %130, %131}, %132, p, 1, 1, 0;\n}" \
      : AWQ_D32(0), AWQ_D32(32), AWQ_D32(64), AWQ_D32(96) \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate))

#define AWQ_MULTIPLY(sums, width, type) \
  __device__ static __forceinline__ void multiply(float (&d)[sums], const uint32_t (&a)[4], uint64_t b, int accumulate) { \
    AWQ_WGMMA_##width(type); \
  }

template <class T>
struct Wgmma;
template <>
struct Wgmma<__half> {
  AWQ_MULTIPLY(4, 8, "f16")
  AWQ_MULTIPLY(8, 16, "f16")
  AWQ_MULTIPLY(16, 32, "f16")
  AWQ_MULTIPLY(32, 64, "f16")
  AWQ_MULTIPLY(64, 128, "f16")
  AWQ_MULTIPLY(128, 256, "f16")
};
template <>
struct Wgmma<__nv_bfloat16> {
  AWQ_MULTIPLY(4, 8, "bf16")
  AWQ_MULTIPLY(8, 16, "bf16")
  AWQ_MULTIPLY(16, 32, "bf16")
  AWQ_MULTIPLY(32, 64, "bf16")
  AWQ_MULTIPLY(64, 128, "bf16")
  AWQ_MULTIPLY(128, 256, "bf16")
};
// clang-format on
#undef AWQ_MULTIPLY
#undef AWQ_D8
#undef AWQ_D32
#undef AWQ_WGMMA_8
#undef AWQ_WGMMA_16
#undef AWQ_WGMMA_32
#undef AWQ_WGMMA_64
#undef AWQ_WGMMA_128
#undef AWQ_WGMMA_256

// Shared memory as operand B: rows (tokens) of 64 halves = 128 bytes, 128-byte swizzle, eight rows (1024 bytes) apart.
// A step of 16 along k adds 32 bytes = 2 to the descriptor. `address` is a multiple of 1024 at step 0.
__device__ __forceinline__ uint64_t make_descriptor(uint32_t address) {
  constexpr uint64_t kSwizzle128 = 1ull << 62, kEightRows = uint64_t(1024 / 16) << 32, kUnusedStride = 1ull << 16;
  return kSwizzle128 | kEightRows | kUnusedStride | ((address & 0x3ffff) >> 4);
}

// Before the first wgmma after registers of d or a were written by other instructions.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Moves registers between warpgroups; every warp of the warpgroup executes it.
template <int kCount>
__device__ __forceinline__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}

// True in one lane of the warp. The compiler knows this form, and keeps addresses of copies in uniform registers; after
// `lane == 0` it wraps every copy into a loop over the lanes.
__device__ __forceinline__ bool elect_one() {
  uint32_t elected;
  asm volatile("{\n .reg .pred p;\n elect.sync _|p, 0xffffffff;\n selp.u32 %0, 1, 0, p;\n}" : "=r"(elected));
  return elected != 0;
}

// ---- barriers in shared memory and the copies that complete on them ----

__device__ __forceinline__ void barrier_init(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
// After the last barrier_init, before other threads and copies use the barriers.
__device__ __forceinline__ void barriers_are_ready() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void barrier_arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
__device__ __forceinline__ void barrier_expect(uint32_t barrier, int bytes) {  // arrives, and waits for the bytes too
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
__device__ __forceinline__ void barrier_wait(uint32_t barrier, uint32_t parity) {
  asm volatile(
      "{\n .reg .pred done;\n"
      "wait:\n mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      " @!done bra wait;\n}\n" ::"r"(barrier),
      "r"(parity)
      : "memory");
}
// 16 bytes to another block's shared memory, which count on its barrier (addresses of address_in_block()). Plain stores
// and an arrive that releases them to the cluster would wait for all the writes of this thread, 0.5 us.
__device__ __forceinline__ void store_counted(uint32_t to, float a, float b, float c, float d, uint32_t barrier) {
  asm volatile(
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(to),
      "f"(a), "f"(b), "f"(c), "f"(d), "r"(barrier)
      : "memory");
}
// The first phase of a barrier that counts what other blocks of the cluster store: it is visible after it.
__device__ __forceinline__ void cluster_barrier_wait(uint32_t barrier) {
  asm volatile(
      "{\n .reg .pred done;\n"
      "wait:\n mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%0], 0;\n"
      " @!done bra wait;\n}\n" ::"r"(barrier)
      : "memory");
}

// L2 eviction policies, as createpolicy would make them: weights are read once, x by every block.
constexpr uint64_t kEvictFirst = 0x12f0000000000000ull, kEvictLast = 0x14f0000000000000ull;

// Fetches a tensor map ahead of its first use, which would wait for it otherwise.
__device__ __forceinline__ void prefetch_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// The box of the tensor map that starts at coordinates (a, b, c), innermost first; outside the tensor it reads zeros.
__device__ __forceinline__ void tensor_copy(uint32_t to, const CUtensorMap* map, int a, int b, int c, uint32_t barrier,
                                            uint64_t policy) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cta.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%3, %4, "
      "%5}], [%2], %6;" ::"r"(to),
      "l"(map), "r"(barrier), "r"(a), "r"(b), "r"(c), "l"(policy)
      : "memory");
}

// The other way: a box of shared memory into the tensor, nothing outside of it. One thread orders its stores, commits
// them, and waits until they have read shared memory.
__device__ __forceinline__ void tensor_store(uint32_t from, const CUtensorMap* map, int a, int b, int c) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%1, %2, %3}], [%4];" ::"l"(map), "r"(a),
               "r"(b), "r"(c), "r"(from)
               : "memory");
}
__device__ __forceinline__ void stores_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
__device__ __forceinline__ void stores_wait() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }
// What this thread has written to shared memory, before another one orders a store of it.
__device__ __forceinline__ void show_to_stores() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

}  // namespace awq::backend::cuda
