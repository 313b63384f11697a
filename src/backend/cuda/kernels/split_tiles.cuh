// A tile that several blocks of the Hopper kernel share: how their sums come together, always in one order.
//
//   stream-k   a block that ends in the middle of a tile owns it: it adds the sums that the following blocks left in
//              the workspace, in order of k. Those blocks did that share first, so the owner hardly waits; it waits
//              for blocks of lower index, which have started before it
//   cluster    every block owns the rows of some of its warps; the other blocks send theirs into its shared memory. The
//              hardware starts all blocks of a cluster together, so they may wait for each other
#pragma once
#include "backend/cuda/kernels/epilogue.cuh"
#include "backend/cuda/kernels/pipeline_sm90a.cuh"
#include "backend/cuda/kernels/store_staged.cuh"

namespace awq::backend::cuda {

// Where things lie in shared memory: addresses.
struct Memory {
  uint32_t full;  // barriers: full, empty, summed; Shape::kSent
  uint32_t ring;

  __device__ __forceinline__ uint32_t empty() const { return full + 128; }
  __device__ __forceinline__ uint32_t summed() const { return full + 256; }
};

// ---- stream-k: sums through the workspace, 16 bytes a thread, in order of k ----

__device__ __forceinline__ void consumers_sync(int threads) {
  asm volatile("bar.sync 1, %0;" ::"r"(threads) : "memory");
}

template <class Shape>
__device__ __forceinline__ void finishers_sync() {  // barriers 2 to 5 are the warpgroups': store_staged.cuh
  asm volatile("bar.sync 6, %0;" ::"n"(Shape::kFinisherThreads) : "memory");
}

template <class Shape>
__device__ __forceinline__ float4* partials_of(const PipelineParams& p, int part) {
  return p.partials + int64_t(part) * (Shape::kValues / 4) * Shape::kFinisherThreads + threadIdx.x;
}

template <class Shape, int kValues>
__device__ __forceinline__ void leave_partials(const PipelineParams& p, const float (&sum)[kValues]) {
  float4* const to = partials_of<Shape>(p, Work::part());
#pragma unroll
  for (int i = 0; i < kValues / 4; ++i)
    __stcg(to + i * Shape::kFinisherThreads, make_float4(sum[4 * i], sum[4 * i + 1], sum[4 * i + 2], sum[4 * i + 3]));
  finishers_sync<Shape>();  // one release for all threads: it covers what the barrier ordered before it
  if (threadIdx.x == 0)
    asm volatile("st.release.gpu.global.u64 [%0], %1;" ::"l"(p.flags + Work::part()), "l"(kReady) : "memory");
}

// Adds the shares of the parts after this block's, up to stage `end`, and clears their flags for the next kernel. Each
// flag has its own thread; the shares come through the ring, which is free by now, as many at a time as fit: with loads
// into registers a latency a share, and not the bandwidth of one SM, would be the bound.
template <class Shape, int kValues>
__device__ __forceinline__ void add_partials(const PipelineParams& p, int end, uint32_t ring, float (&sum)[kValues]) {
  const int first = Work::part() + 1;
  int count = 0;
  while (Work::bound(p, first + count) < end) ++count;
  for (int i = threadIdx.x; i < count; i += Shape::kFinisherThreads) {
    uint64_t flag;
    do {
      asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(flag) : "l"(p.flags + first + i) : "memory");
    } while (flag != kReady);
    p.flags[first + i] = 0;
  }
  finishers_sync<Shape>();
  constexpr int kVectors = kValues / 4, kStep = 16 * Shape::kFinisherThreads, kShare = kVectors * kStep;
  const uint32_t slot = ring + threadIdx.x * 16;  // a thread reads what it copied itself
  const int batch = p.stages * Shape::kStage / kShare;
  for (int done = 0; done < count; done += batch) {
    const int now = min(batch, count - done);
    for (int a = 0; a < now; ++a)
#pragma unroll
      for (int i = 0; i < kVectors; ++i)
        copy16(slot + a * kShare + i * kStep, partials_of<Shape>(p, first + done + a) + i * Shape::kFinisherThreads,
               16);
    copy_commit();
    copy_wait<0>();
    for (int a = 0; a < now; ++a)
#pragma unroll
      for (int i = 0; i < kVectors; ++i) {
        uint32_t v[4];
        load_shared16(v, slot + a * kShare + i * kStep);
#pragma unroll
        for (int e = 0; e < 4; ++e) sum[4 * i + e] += __uint_as_float(v[e]);
      }
  }
}

// ---- clusters ----

struct ClusterShare {
  int rank, blocks;

  __device__ __forceinline__ int owner(int warp, int warps) const { return warp * blocks / warps; }
  __device__ __forceinline__ int first_warp(int block, int warps) const {
    return (block * warps + blocks - 1) / blocks;
  }
  // Warps that send to this block.
  __device__ __forceinline__ int senders(int warps) const {
    return (first_warp(rank + 1, warps) - first_warp(rank, warps)) * (blocks - 1);
  }
};

template <int kValues>
__device__ __forceinline__ void send(uint32_t to, uint32_t sent, const float (&sum)[kValues]) {
#pragma unroll
  for (int v = 0; v < kValues / 4; ++v)
    store_counted(to + v * 512, sum[4 * v], sum[4 * v + 1], sum[4 * v + 2], sum[4 * v + 3], sent);
}

// False in a warp whose rows belong to another block.
template <class Shape, int kValues>
__device__ __forceinline__ bool add_in_cluster(const PipelineParams& p, const Memory& memory, int warp,
                                               float (&sum)[kValues]) {
  constexpr int kWarps = Shape::kFinishers, kBytes = kValues * 128;  // of a warp's sums
  const ClusterShare share{rank_in_cluster(), p.cluster};
  const int owner = share.owner(warp, kWarps), slots = (kWarps + p.cluster - 1) / p.cluster;
  const int slot = warp - share.first_warp(owner, kWarps);
  const uint32_t sent = memory.full + Shape::kSent;
  const uint32_t lane_at = memory.full + Shape::receive_at(p.stages) + slot * kBytes + threadIdx.x % 32 * 16;
  wait_for_cluster();  // all of them have started, and made their barriers
  if (owner != share.rank) {
    send(address_in_block(owner, lane_at + share.rank * slots * kBytes), address_in_block(owner, sent), sum);
    return false;
  }
  cluster_barrier_wait(sent);
  for (int from = 0; from < p.cluster; ++from) {
    if (from == share.rank) continue;
#pragma unroll
    for (int v = 0; v < kValues / 4; ++v) {
      uint32_t r[4];
      load_shared16(r, lane_at + from * slots * kBytes + v * 512);
#pragma unroll
      for (int e = 0; e < 4; ++e) sum[4 * v + e] += __uint_as_float(r[e]);
    }
  }
  return true;
}

// Adds up, in a fixed order, what the warps have that multiplied the same rows with a part of k each; through shared
// memory at `buffer`: [source][16 rows][4 sums][lane] of 16 bytes. This warp is `source` for the times 16 rows first,
// first + step ... Sums are left in `mine` in the first kFinishers warps; false in the others.
template <class Shape, int kTiles, int kValues>
__device__ __forceinline__ bool gather_sums(uint32_t buffer, int warp, int source, int first, int step,
                                            const float (&sum)[kTiles][kValues],
                                            float (&mine)[Shape::kBlocks][kValues]) {
  constexpr int kVectors = kValues / 4, kTile = kVectors * 512, kSource = Shape::kRows / 16 * kTile;
  const uint32_t at = buffer + threadIdx.x % 32 * 16;
  consumers_sync(Shape::kConsumerThreads);  // the work before has been read
#pragma unroll
  for (int b = 0; b < kTiles; ++b)
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const float part[4] = {sum[b][4 * v], sum[b][4 * v + 1], sum[b][4 * v + 2], sum[b][4 * v + 3]};
      store_shared16(at + source * kSource + (first + b * step) * kTile + v * 512, part);
    }
  consumers_sync(Shape::kConsumerThreads);
  if (warp >= Shape::kFinishers) return false;
#pragma unroll
  for (int b = 0; b < Shape::kBlocks; ++b)
#pragma unroll
    for (int v = 0; v < kVectors; ++v)
#pragma unroll
      for (int from = 0; from < Shape::kSources; ++from) {
        uint32_t r[4];
        load_shared16(r, at + from * kSource + (warp * Shape::kBlocks + b) * kTile + v * 512);
#pragma unroll
        for (int e = 0; e < 4; ++e)
          mine[b][4 * v + e] = from == 0 ? __uint_as_float(r[e]) : mine[b][4 * v + e] + __uint_as_float(r[e]);
      }
  return true;
}

// The sums of a work are complete: stored, left for the tile's owner, or completed with what others left.
template <class Shape, class T, int kValues>
__device__ __forceinline__ void finish_work(const PipelineParams& p, const Epilogue<T>& epilogue, const Work& work,
                                            const Memory& memory, float (&sum)[Shape::kBlocks][kValues], int warp,
                                            const CUtensorMap* y = nullptr) {
  auto& sums = reinterpret_cast<float(&)[Shape::kValues]>(sum);
  wait_for_previous_kernel();  // y may be the previous kernel's input, and the workspace its own
  if (p.cluster > 1) {
    if (!add_in_cluster<Shape>(p, memory, warp, sums)) return;
  } else if (work.first > 0) {
    return leave_partials<Shape>(p, sums);
  } else if (work.count < p.units) {
    add_partials<Shape>(p, (work.tile + 1) * p.units, memory.ring, sums);
  }
  const int token0 = work.tile % p.token_blocks * Shape::kTokens;
  const int rows = work.tile / p.token_blocks, block0 = rows / Shape::kParts * Shape::kRowBlocks;
  if constexpr (Shape::kStaged) {
    store_staged<Shape>(epilogue, memory.ring + Shape::staging_at(p.stages), y, block0 + warp / 4 * Shape::kBlocks,
                        token0, sum, warp);
  } else {
#pragma unroll
    for (int b = 0; b < Shape::kBlocks; ++b) {
      const int tile = warp * Shape::kBlocks + b;
      const int block = block0 + (Shape::kParts == 1 ? warp / 4 * Shape::kBlocks + b : tile / 2);
      const int row = Shape::kParts == 1 ? warp % 4 * 16 : rows % 2 * 32 + tile % 2 * 16;
      epilogue.store_fragments(block * 64 + row, token0, reinterpret_cast<float(&)[Shape::kTokens / 8][4]>(sum[b]));
    }
  }
}

}  // namespace awq::backend::cuda
