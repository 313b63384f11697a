// The pipeline of the Hopper kernels (9.0a): weights, scales, zero points and x stream through a ring of stages in
// shared memory; consumer warps multiply (consume_integers.cuh for few tokens, consume_scaled.cuh for many).
//
//   tile       kConsumers warpgroups x kBlocks x 64 rows, kTokens tokens
//   stage      128 k of x, weights, scales and zero points, each one box of a tensor map (x with the 128-byte swizzle),
//              all completing on one barrier. An SM starts a copy every 120 cycles or so, whatever its size (measured,
//              from one warp or four): plain bulk copies a row block apart, 8 to 14 a stage, were the bottleneck below
//              m = 256
//   split      "stream-k": the stages of all tiles in one row, cut into equal parts, one a block. A block that ends in
//              the middle of a tile owns it: it adds the sums that the following blocks left in the workspace, in order
//              of k. Those blocks did that share first, so the owner hardly waits; it waits for blocks of lower index,
//              which have started before it
//   overlap    the next kernel of the stream may start at once (programmatic dependent launch): its weights stream
//              while this one ends. Only x and y wait for the kernel before
//
// Tried, no gain or a loss (one H200, 28672 x 4096): a cluster that splits k and adds up through distributed shared
// memory (4096 x 14336: 30 % slower than stream-k at m = 16 .. 128, 8 % quicker on 4096 x 4096); turns between the
// warpgroups, so that one dequantizes while the other multiplies; four producer warps; four consumer warpgroups with
// one row block each.
#pragma once
#include "backend/cuda/kernels/chunk_groups.cuh"
#include "backend/cuda/kernels/epilogue.cuh"
#include "backend/cuda/kernels/fragments.cuh"
#include "backend/cuda/kernels/tensor_maps.h"
#include "backend/cuda/kernels/wgmma.cuh"

namespace awq::backend::cuda {

struct PipelineParams {
  int token_blocks, tiles;
  bool split;              // stream-k; else whole tiles, tile i * grid + block
  int chunks;              // of 64 k, padded
  int groups;              // stored a row
  uint32_t unit_to_group;  // chunk_groups.cuh
  int stages;              // ring length
  float4* partials;        // (grid, values / 4, threads): sums of a tile that another block owns
  uint64_t* flags;         // (grid): kReady when partials are there
};

// No other content of the workspace is taken for it, so the workspace needs no preparation.
constexpr uint64_t kReady = 0x9e3779b97f4a7c15ull;

// A tile, or a part of its stages.
struct Work {
  int tile, first, count;

  __device__ static __forceinline__ int bound(const PipelineParams& p, int part) {  // stages before this part
    return static_cast<int>(int64_t(p.tiles) * (p.chunks / 2) * part / gridDim.x);
  }
  // Later blocks have the earlier parts: an owner waits for blocks that started before it.
  __device__ static __forceinline__ int part() { return gridDim.x - 1 - blockIdx.x; }

  // The i-th work of this block; false when there is none. Called in order.
  __device__ __forceinline__ bool next(const PipelineParams& p, int i) {
    const int stages = p.chunks / 2;
    if (!p.split) {
      tile = i * gridDim.x + blockIdx.x, first = 0, count = stages;
      return tile < p.tiles;
    }
    const int at = i == 0 ? bound(p, part()) : tile * stages + first + count, end = bound(p, part() + 1);
    if (at >= end) return false;
    tile = at / stages, first = at - tile * stages, count = min(stages - first, end - at);
    return true;
  }
};

template <int kTokens_, int kConsumers_, int kBlocks_, int kGroups_, bool kFold_ = false>
struct PipelineShape {
  // Weights enter the product as integers; scale and zero point are settled on the float sum of every 64 k (f16 only).
  static constexpr bool kFold = kFold_ && kGroups_ <= 2;
  static constexpr int kTokens = kTokens_, kBlocks = kBlocks_, kGroups = kGroups_;  // kGroups: a stage of 128 k
  static constexpr int kConsumers = kConsumers_, kRowBlocks = kConsumers * kBlocks, kRows = 64 * kRowBlocks;
  static constexpr int kConsumerThreads = 128 * kConsumers, kThreads = kConsumerThreads + 128;
  // Many accumulators need more registers than all threads can have alike: the producers give theirs away.
  static constexpr bool kMoveRegisters = kTokens * kBlocks * kConsumers >= 256;
  static constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;  // of 168 each at launch
  static constexpr int kValues = kBlocks * kTokens / 2;                    // sums a thread
  static constexpr int kXBoxes = kTokens >= 128 ? 2 : 1;                   // copies a stage
  static constexpr int kXBox = kTokens * 128;                              // bytes of 64 k
  // One stage: x [2][token][64 k], weights [row block][2][2048], scales [row block][group][128], zeros [..][32].
  static constexpr int kXBytes = 2 * kXBox, kScales = kXBytes + kRowBlocks * 4096;
  static constexpr int kZeros = kScales + kRowBlocks * kGroups * 128, kBytes = kZeros + kRowBlocks * kGroups * 32;
  static constexpr int kStage = (kBytes + 1023) / 1024 * 1024;
  // Barriers (three kinds a stage), sums of x [stage][2][token], then the ring, aligned to 1024.
  static constexpr int kXSums = 384;
  AWQ_HD static constexpr int ring(int stages) { return kXSums + (kFold ? stages * 2 * kTokens * 4 : 0); }
  static constexpr int smem(int stages) { return ring(stages) + 1023 + stages * kStage; }
};

// Position in the ring of stages: slot and the parity of its barriers.
struct RingPosition {
  int slot = 0;
  uint32_t parity;
  __device__ __forceinline__ void advance(int stages) {
    if (++slot == stages) slot = 0, parity ^= 1;
  }
};

// What one producer warp copies into every stage. Runs in one lane.
template <class Fetch>
__device__ __forceinline__ void produce(const PipelineParams& p, uint32_t empty, Fetch&& fetch) {
  RingPosition at{0, 1};  // an untouched barrier counts as passed: the first round does not wait
  Work work{};
  for (int i = 0; work.next(p, i); ++i)
    for (int u = work.first; u < work.first + work.count; ++u) {
      barrier_wait(empty + 8 * at.slot, at.parity);
      fetch(work.tile, u, at.slot);
      at.advance(p.stages);
    }
}

// ---- a tile shared by several blocks: sums through the workspace, 16 bytes a thread, in order of k ----

__device__ __forceinline__ void consumers_sync(int threads) {
  asm volatile("bar.sync 1, %0;" ::"r"(threads) : "memory");
}

template <class Shape>
__device__ __forceinline__ float4* partials_of(const PipelineParams& p, int part) {
  return p.partials + int64_t(part) * (Shape::kValues / 4) * Shape::kConsumerThreads + threadIdx.x;
}

template <class Shape, int kValues>
__device__ __forceinline__ void leave_partials(const PipelineParams& p, const float (&sum)[kValues]) {
  float4* const to = partials_of<Shape>(p, Work::part());
#pragma unroll
  for (int i = 0; i < kValues / 4; ++i)
    __stcg(to + i * Shape::kConsumerThreads, make_float4(sum[4 * i], sum[4 * i + 1], sum[4 * i + 2], sum[4 * i + 3]));
  consumers_sync(Shape::kConsumerThreads);  // one release for all threads: it covers what the barrier ordered before it
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
  for (int i = threadIdx.x; i < count; i += Shape::kConsumerThreads) {
    uint64_t flag;
    do {
      asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(flag) : "l"(p.flags + first + i) : "memory");
    } while (flag != kReady);
    p.flags[first + i] = 0;
  }
  consumers_sync(Shape::kConsumerThreads);
  constexpr int kVectors = kValues / 4, kStep = 16 * Shape::kConsumerThreads, kShare = kVectors * kStep;
  const uint32_t slot = ring + threadIdx.x * 16;  // a thread reads what it copied itself
  const int batch = p.stages * Shape::kStage / kShare;
  for (int done = 0; done < count; done += batch) {
    const int now = min(batch, count - done);
    for (int a = 0; a < now; ++a)
#pragma unroll
      for (int i = 0; i < kVectors; ++i)
        copy16(slot + a * kShare + i * kStep, partials_of<Shape>(p, first + done + a) + i * Shape::kConsumerThreads,
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

// The sums of a work are complete: stored, left for the tile's owner, or completed with what others left.
template <class Shape, class T, int kValues>
__device__ __forceinline__ void finish_work(const PipelineParams& p, const Epilogue<T>& epilogue, const Work& work,
                                            uint32_t ring, float (&sum)[Shape::kBlocks][kValues], int warp) {
  auto& sums = reinterpret_cast<float(&)[Shape::kValues]>(sum);
  wait_for_previous_kernel();  // y may be the previous kernel's input, and the workspace its own
  if (work.first > 0) return leave_partials<Shape>(p, sums);
  if (work.count < p.chunks / 2) add_partials<Shape>(p, (work.tile + 1) * (p.chunks / 2), ring, sums);
  const int token0 = work.tile % p.token_blocks * Shape::kTokens;
  const int block0 = work.tile / p.token_blocks * Shape::kRowBlocks + warp / 4 * Shape::kBlocks;
#pragma unroll
  for (int b = 0; b < Shape::kBlocks; ++b)
    epilogue.store_fragments((block0 + b) * 64 + warp % 4 * 16, token0,
                             reinterpret_cast<float(&)[Shape::kTokens / 8][4]>(sum[b]));
}

}  // namespace awq::backend::cuda
