// Blocks of a cluster (9.0): they run at the same time and write into each other's shared memory.
#pragma once
#include <cstdint>

namespace awq::backend::cuda {

inline constexpr int kMostInCluster = 8;  // blocks: what every chip that has clusters takes

__device__ __forceinline__ int rank_in_cluster() {
  uint32_t rank = 0;
#if __CUDA_ARCH__ >= 900
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
  return static_cast<int>(rank);
}

// A barrier of all threads of all blocks in two halves: what was written before the one is visible after the other.
__device__ __forceinline__ void arrive_at_cluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
// The first half where nothing but barriers (wgmma.cuh: barriers_are_ready) was written before: without the wait for
// all the writes of this thread, 0.5 us.
__device__ __forceinline__ void arrive_at_cluster_relaxed() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ void wait_for_cluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

// Where `address` of this block's shared memory lies in block `rank`.
__device__ __forceinline__ uint32_t address_in_block(int rank, uint32_t address) {
#if __CUDA_ARCH__ >= 900
  uint32_t there;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
  return there;
#else
  return address;
#endif
}

// *to = value, in the shared memory of block `rank` at the place that `to` has in this one's.
__device__ __forceinline__ void store_in_block(float* to, int rank, float value) {
#if __CUDA_ARCH__ >= 900
  const uint32_t there = address_in_block(rank, static_cast<uint32_t>(__cvta_generic_to_shared(to)));
  asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(there), "f"(value) : "memory");
#else
  *to = value;
#endif
}

}  // namespace awq::backend::cuda
