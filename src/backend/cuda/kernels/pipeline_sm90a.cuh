// The pipeline of the Hopper kernels (9.0a): weights, scales, zero points and x stream through a ring of stages in
// shared memory; consumer warps multiply (consume_integers.cuh for few tokens, consume_scaled.cuh for many).
//
//   tile       kRows x kTokens, by two warpgroups (four for 32 tokens x 256 rows): row blocks of 64 rows, or halves of
//              them side by side (pipeline_plan.h), for row counts that leave no multiprocessor without work: 4096 rows
//              are 64 clusters of two with 64 rows, 12288 are 128 blocks with 96 (m = 16: 9.8 us, not 11.2)
//   stage      128 k (64 for 256 tokens, two parts of 128 with half row blocks) of x, weights, scales and zero points,
//              each one box of a tensor map (x with the 128-byte swizzle), all completing on one barrier. An SM starts
//              a copy every 120 cycles or so, whatever its size (measured, from one warp or four): plain bulk copies a
//              row block apart, 8 to 14 a stage, were the bottleneck below m = 256
//   split      "stream-k": the stages of all tiles in one row, cut into equal parts, one a block (split_tiles.cuh); or
//              those of the tiles that are left after rounds of whole ones
//   y          tiles of 128 and more tokens are stored from shared memory while the next ones are multiplied
//              (store_staged.cuh)
//   cluster    or: a tile is cut along k into the blocks of a cluster, which add up in each other's shared memory. It
//              saves the way through L2 where a tile would have few shares (4096 x 4096, m = 16: 6.7 us, not 8.1), and
//              leaves multiprocessors idle where the clusters do not divide them: four blocks of a cluster find room in
//              22 places of an H200, three in fewer than 40
//   overlap    the next kernel of the stream may start at once (programmatic dependent launch): its weights stream
//              while this one ends. Only x and y wait for the kernel before
//
// Tried, no gain or a loss (one H200): four producer warps; for few tokens, three or four consumer warpgroups with as
// many turns; for many, turns between the warpgroups, so that one dequantizes while the other multiplies, and products
// after every 16 k; room for two blocks on a multiprocessor, so that the next kernel's weights fill its ring while this
// one runs (80 registers: its blocks do start early, but what then bounds is the way from the end of one kernel to the
// first product of the next, 2 us, and the copies disturb those of the kernel that runs); barriers made by the lanes of
// one warp, which then does not wait for the others (0.4 us slower a launch); two blocks side by side that share x or
// weights by multicast (0 to 5 % slower: the way from L2 is not what bounds); tiles in panels of 4 or 8 blocks of
// tokens. At m = 2048 the card's power bounds: with no weight dequantized at all 3 % less time (10240 x 8192).
#pragma once
#include "backend/cuda/kernels/chunk_groups.cuh"
#include "backend/cuda/kernels/cluster.cuh"
#include "backend/cuda/kernels/fragments.cuh"
#include "backend/cuda/kernels/pipeline_plan.h"
#include "backend/cuda/kernels/tensor_maps.h"
#include "backend/cuda/kernels/wgmma.cuh"

namespace awq::backend::cuda {

struct PipelineParams {
  int token_blocks, tiles;
  int rounds;              // of whole tiles, tile i * grid + block
  bool split;              // then stream-k for the tiles that are left
  int cluster;             // blocks of a cluster that share a tile; 1: none
  int units;               // of a tile: 128 k, with half row blocks 256
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
    const int whole = p.rounds * static_cast<int>(gridDim.x), stages = p.units;
    return whole * stages + static_cast<int>(int64_t(p.tiles - whole) * stages * part / gridDim.x);
  }
  // Later blocks have the earlier parts: an owner waits for blocks that started before it.
  __device__ static __forceinline__ int part() { return gridDim.x - 1 - blockIdx.x; }

  // The i-th work of this block; false when there is none. Called in order.
  __device__ __forceinline__ bool next(const PipelineParams& p, int i) {
    const int stages = p.units;
    if (p.cluster > 1) {
      const int rank = rank_in_cluster();
      tile = blockIdx.x / p.cluster, first = stages * rank / p.cluster;
      count = stages * (rank + 1) / p.cluster - first;
      return i == 0;
    }
    if (i < p.rounds) {
      tile = i * gridDim.x + blockIdx.x, first = 0, count = stages;
      return tile < p.tiles;
    }
    if (!p.split) return false;
    const int at = i == p.rounds ? bound(p, part()) : tile * stages + first + count, end = bound(p, part() + 1);
    if (at >= end) return false;
    tile = at / stages, first = at - tile * stages, count = min(stages - first, end - at);
    return true;
  }
};

// Of a finished tile: 64 rows x 128 tokens, in bytes [token][128] (store_staged.cuh).
inline constexpr int kPieceTokens = 128, kPieceBytes = kPieceTokens * 128;

// kGroups: groups in a stage of 128 k. kFold: weights enter the product as integers; scale and zero point are settled
// on the float sum of every group (f16 only, and no group under 64).
template <int kTokens_, int kRows_, int kGroups_, bool kFold_>
struct PipelineShape {
  static constexpr bool kFold = kFold_ && kGroups_ <= 2;
  static constexpr int kTokens = kTokens_, kGroups = kGroups_, kRows = kRows_;
  // Parts of 128 k a stage; with two, a tile has half the rows of each of its row blocks.
  static constexpr int kParts = parts_of_stage(kRows), kRowBlocks = kRows * kParts / 64;
  // Warpgroups that multiply. Four, with a row block each, hide more of each other's waits than two with two (32 tokens
  // x 256 rows: 1 to 4 % quicker), where the sums of 64 rows fit the 104 registers that are then left to a thread.
  static constexpr int kConsumers = kTokens == 32 && kRows == 256 ? 4 : 2;
  static constexpr int kConsumerWarps = 4 * kConsumers;
  static constexpr int kConsumerThreads = 32 * kConsumerWarps;
  // One warp copies weights and one x; with kFold two or four more prepare_stages(). Registers move by warpgroups.
  static constexpr int kThreads = kConsumerThreads + (kFold ? 256 : 128);
  // Warps that finish a tile, and how many times 16 rows each of them finishes.
  static constexpr int kFinishers = kParts == 1 ? kConsumerWarps : kRows / 16 <= 8 ? kRows / 16 : kRows / 32;
  static constexpr int kFinisherThreads = 32 * kFinishers, kBlocks = kRows / 16 / kFinishers;
  // Times 16 rows that a warp multiplies, and warps that multiply the same rows, a part of k each.
  static constexpr int kWarpTiles = kFold ? kRowBlocks : kParts == 1 ? kBlocks : kRows / 64;
  static constexpr int kSources = kFold ? 2 * kParts : kParts;
  // The producers give the consumers registers, of 168 each at launch (128 with kFold, 96 with four warpgroups);
  // summing x takes more of them than copying. Also where those would do: in a kernel that moves registers the compiler
  // keeps what is alike in all lanes in uniform ones, a sixth fewer instructions a stage.
  static constexpr int kProducerRegisters = kFold ? 80 : 40;
  static constexpr int kConsumerRegisters = kFold ? 176 : kConsumers == 4 ? 104 : 232;
  static constexpr int kValues = kBlocks * kTokens / 2;   // sums a thread
  static constexpr int kXBoxes = kTokens >= 128 ? 2 : 1;  // copies of 128 k
  static constexpr int kXBox = kTokens * 128;             // bytes of 64 k
  // Chunks of 64 k in a stage: one where only two stages of 128 k find room.
  static constexpr int kChunks = kTokens >= 256 ? 1 : 2 * kParts;
  static constexpr int kStageGroups = (kGroups * kChunks + 1) / 2;
  // One stage: x [chunk][token][64 k], weights [row block][chunk][2048], scales [row block][group][128], zeros (32);
  // with two parts half as many bytes of each row block.
  static constexpr int kXBytes = kChunks * kXBox, kScales = kXBytes + kRowBlocks * kChunks * 2048 / kParts;
  static constexpr int kZeros = kScales + kRowBlocks * kStageGroups * 128 / kParts;
  static constexpr int kBytes = kZeros + kRowBlocks * kStageGroups * 32 / kParts;
  static constexpr int kStage = (kBytes + 1023) / 1024 * 1024;
  // Before the ring: barriers (three kinds, of at most 15 stages, and kSent), sums of x [stage][kSums][token], factors
  // of scales and zero points [stage], what the warpgroups exchange, and what the other blocks of a cluster send; the
  // ring is aligned to 1024.
  static constexpr int kSent = 120, kXSums = 384;
  static constexpr int kSums = kParts * kGroups;  // of x, a stage and token
  static constexpr int kExchange = kParts == 2 ? kSources * kRows * kTokens * 4
                                   : kFold     ? kRowBlocks * kTokens * 256
                                               : 0;
  static constexpr int kFactors = kRowBlocks * kGroups * 512;  // of a stage: Factors
  // At most warps + blocks - 2 pairs (block that sends, warp that it sends to).
  AWQ_HD static constexpr int receive(int cluster) { return cluster > 1 ? (kFinishers + 6) * kValues * 128 : 0; }
  AWQ_HD static constexpr int factors_at(int stages) { return kXSums + stages * kSums * kTokens * 4; }
  AWQ_HD static constexpr int exchange_at(int stages) {
    return kFold ? factors_at(stages) + stages * kFactors : kXSums;
  }
  AWQ_HD static constexpr int receive_at(int stages) { return exchange_at(stages) + kExchange; }
  AWQ_HD static constexpr int ring_at(int stages, int cluster) { return receive_at(stages) + receive(cluster); }
  // After the ring: a finished tile on its way to y.
  static constexpr bool kStaged = kTokens >= 128;
  static constexpr int kStaging = kStaged ? kRowBlocks * (kTokens / kPieceTokens) * kPieceBytes : 0;
  AWQ_HD static constexpr int staging_at(int stages) { return stages * kStage; }  // from the ring
  static constexpr int smem(int stages, int cluster) {
    return ring_at(stages, cluster) + 1023 + staging_at(stages) + kStaging;
  }
};

// Position in the ring of stages: slot and the parity of its barriers.
struct RingPosition {
  int slot = 0;
  uint32_t parity;
  __device__ __forceinline__ void advance(int stages) {
    if (++slot == stages) slot = 0, parity ^= 1;
  }
  // By fewer than `stages`.
  __device__ __forceinline__ void advance(int stages, int by) {
    slot += by;
    if (slot >= stages) slot -= stages, parity ^= 1;
  }
};

// The same value, which the compiler does not compute again in every stage: it does not see through a shuffle.
__device__ __forceinline__ uint32_t kept(uint32_t value) { return __shfl_sync(~0u, value, threadIdx.x % 32); }

// What one producer warp copies into every stage. Runs in one lane.
template <class Shape, class Fetch>
__device__ __forceinline__ void produce(const PipelineParams& p, uint32_t empty, Fetch&& fetch) {
  constexpr int kUnit = 2 * Shape::kParts;
  RingPosition at{0, 1};  // an untouched barrier counts as passed: the first round does not wait
  Work work{};
  for (int i = 0; work.next(p, i); ++i)
    for (int chunk = kUnit * work.first; chunk < kUnit * (work.first + work.count); chunk += Shape::kChunks) {
      barrier_wait(empty + 8 * at.slot, at.parity);
      fetch(work.tile, chunk, at.slot);
      at.advance(p.stages);
    }
}

}  // namespace awq::backend::cuda
