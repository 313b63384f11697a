// How the roles of the token step meet within a block: places in shared memory, and the tiles that are its own.
#pragma once
#include "backend/cuda/kernels/fragments.cuh"
#include "backend/cuda/kernels/pipeline_sm90a.cuh"
#include "backend/cuda/run/token_step.h"
#include "backend/cuda/run/token_step_limits.h"

namespace awq::backend::cuda {

// Warps 0 .. 7 multiply and attend, warp 8 finishes tiles, warp 9 copies, warp 10 fetches. Registers move by
// warpgroups: attention takes more than the 168 that all could have alike.
inline constexpr int kStepBlockThreads = kStepThreads + 128;
inline constexpr int kStepRegisters = 224, kStepOtherRegisters = 56;
inline constexpr int kStepSums = 2;  // tiles whose sums wait for being finished

// Shared memory, in bytes from its start; the ring comes last.
struct StepSmem {
  static constexpr int kFull = 0, kEmpty = 256;                        // barriers of the ring, at most 32 of each
  static constexpr int kTileFull = 512, kTileFree = 528;               // barriers of kStepSums each
  static constexpr int kXOfO = 544;                                    // barrier: the input of O is here
  static constexpr int kNextWanted = 552, kNextHere = 560;             // barriers: StepBeside of the next block
  static constexpr int kOfWarp = 576;                                  // float [kStepWarps]
  static constexpr int kSums = 640;                                    // float [kStepSums][kStepWarps][16]
  static constexpr int kBeside = kSums + kStepSums * kStepWarps * 64;  // StepBeside [2], of this block and the next
  static constexpr int kAttention = kBeside + 2 * sizeof(StepBeside);  // StepAttentionState
  static constexpr int kX = (kAttention + 3712 + 127) / 128 * 128;     // half [k]: x; or the sums of attention
  static_assert(kX % 128 == 0);
};

AWQ_HD constexpr int step_stages(int k) { return (k + kStepK - 1) / kStepK; }
AWQ_HD constexpr int step_x_bytes(int k) { return step_stages(k) * kStepK * 2; }  // zeros from k on

// A stage of weights whose units of 128 k have kInUnit groups: weights [16][kStepK / 4], scales [groups][32], zero
// points [groups][16].
template <int kInUnit>
struct StepStage {
  static constexpr int kGroups = kStepUnits * kInUnit;
  static constexpr int kScales = kTileRows * kStepK / 2, kZeros = kScales + kGroups * 32;
  static constexpr int kBytes = kZeros + kGroups * 16;
};

// Of the threads that multiply and attend.
__device__ __forceinline__ void meet() { asm volatile("bar.sync 1, %0;" ::"n"(kStepThreads) : "memory"); }

// The tiles of 16 rows of a linear that are this block's: blockIdx.x, + gridDim.x, ...
struct BlockTiles {
  int count;

  __device__ __forceinline__ explicit BlockTiles(const StepShape& s)
      : count((s.tiles + static_cast<int>(gridDim.x - 1 - blockIdx.x)) / static_cast<int>(gridDim.x)) {}
  __device__ __forceinline__ int operator[](int i) const { return blockIdx.x + i * gridDim.x; }
};

}  // namespace awq::backend::cuda
