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
inline constexpr int kStepSums = 2;     // tiles whose sums wait for being finished
inline constexpr int kStepQueue = 256;  // entries of TileQueue

// Shared memory, in bytes from its start; the ring comes last.
struct StepSmem {
  static constexpr int kFull = 0, kEmpty = 256;                        // barriers of the ring, at most 32 of each
  static constexpr int kTileFull = 512, kTileFree = 528;               // barriers of kStepSums each
  static constexpr int kXOfO = 544;                                    // barrier: the input of O is here
  static constexpr int kNextWanted = 552, kNextHere = 560;             // barriers: StepBeside of the next block
  static constexpr int kOfWarp = 576;                                  // float [kStepWarps]
  static constexpr int kSums = 640;                                    // float [kStepSums][kStepWarps][16]
  static constexpr int kTiles = kSums + kStepSums * kStepWarps * 64;   // TileQueue
  static constexpr int kBeside = kTiles + kStepQueue * 4;              // StepBeside [2], of this block and the next
  static constexpr int kAttention = kBeside + 2 * sizeof(StepBeside);  // StepAttentionState
  static constexpr int kX = (kAttention + 3712 + 127) / 128 * 128;     // half [k]: x; or the sums of attention
  static_assert(kX % 128 == 0);
};

AWQ_HD constexpr int step_stages(int k) { return (k + kStepK - 1) / kStepK; }
AWQ_HD constexpr int step_x_bytes(int k) { return step_stages(k) * kStepK * 2; }  // zeros from k on

// A stage of weights whose units of 128 k have kInUnit groups: weights [16][512], scales [groups][32], zero points
// [groups][16].
template <int kInUnit>
struct StepStage {
  static constexpr int kGroups = kStepUnits * kInUnit;
  static constexpr int kScales = kTileRows * kStepK / 2, kZeros = kScales + kGroups * 32;
  static constexpr int kBytes = kZeros + kGroups * 16;
};

// Of the threads that multiply and attend.
__device__ __forceinline__ void meet() { asm volatile("bar.sync 1, %0;" ::"n"(kStepThreads) : "memory"); }

// The tiles of this block, linear by linear, each time with kNoTile behind the last: what the copying lane tells the
// others. An entry has its number beside it, by which it is known to be there. It is not written again too early: a
// block has tiles of gate and up in every block of the model, so behind a tile that is not finished are at most the
// stages of the ring, as many tiles, and kStepLinears entries of kNoTile for each.
inline constexpr uint32_t kNoTile = 0xffff;

struct TileQueue {
  uint32_t at;  // in shared memory, zeros at first
  uint32_t next = 0;

  __device__ __forceinline__ explicit TileQueue(uint32_t smem) : at(smem + StepSmem::kTiles) {}
  __device__ __forceinline__ void put(uint32_t tile) {
    asm volatile("st.relaxed.cta.shared.u32 [%0], %1;" ::"r"(place()), "r"(number() | tile) : "memory");
    ++next;
  }
  __device__ __forceinline__ uint32_t take() {
    uint32_t entry;
    do {
      asm volatile("ld.relaxed.cta.shared.u32 %0, [%1];" : "=r"(entry) : "r"(place()) : "memory");
    } while ((entry & 0xffff0000) != number());
    ++next;
    return entry & 0xffff;
  }

 private:
  __device__ __forceinline__ uint32_t place() const { return at + next % kStepQueue * 4; }
  __device__ __forceinline__ uint32_t number() const { return (next + 1) << 16; }
};

}  // namespace awq::backend::cuda
