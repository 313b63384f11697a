// How the roles of the token step meet: places in shared memory, barriers of the grid, turns of the ring.
#pragma once
#include "backend/cuda/kernels/fragments.cuh"
#include "backend/cuda/kernels/pipeline_sm90a.cuh"
#include "backend/cuda/kernels/step_sync.cuh"
#include "backend/cuda/run/token_step.h"
#include "backend/cuda/run/token_step_limits.h"

namespace awq::backend::cuda {

// Warps 0 .. 7 multiply and attend, warp 8 finishes tiles, warp 9 copies. Registers move by warpgroups: attention takes
// more than the 168 that all could have alike.
inline constexpr int kStepBlockThreads = kStepThreads + 128;
inline constexpr int kStepRegisters = 224, kStepOtherRegisters = 56;
inline constexpr int kStepSums = 2;  // tiles whose sums wait for being finished

// Shared memory, in bytes from its start; the ring comes last.
struct StepSmem {
  static constexpr int kFull = 0, kEmpty = 256;                   // barriers of the ring, at most 32 of each
  static constexpr int kTileFull = 512, kTileFree = 528;          // barriers of kStepSums each
  static constexpr int kLast = 544;                               // int: this block merges the parts of a context
  static constexpr int kOfWarp = 576;                             // float [kStepWarps]
  static constexpr int kSums = 640;                               // float [kStepSums][kStepWarps][16]
  static constexpr int kX = kSums + kStepSums * kStepWarps * 64;  // x, then its sums; or what attention needs
  static_assert(kX % 128 == 0);
};

// x in shared memory, as the products read it: [k / 64][lane % 4][8] pairs, pair 2j + h of lane t holds k = 16j + 8h +
// 2t and the next. Then the sums of x over groups.
AWQ_HD constexpr int step_units(int k) { return (k + kPadK - 1) / kPadK; }
AWQ_HD constexpr int step_x_bytes(int k) { return step_units(k) * kPadK * 2; }

// A stage of weights whose units of 128 k have kInUnit groups: weights [16][512], scales [groups][32], zero points
// [groups][16].
template <int kInUnit>
struct StepStage {
  static constexpr int kGroups = kStepUnits * kInUnit;
  static constexpr int kScales = kTileRows * kStepK / 2, kZeros = kScales + kGroups * 32;
  static constexpr int kBytes = kZeros + kGroups * 16;
};

// The barriers of the grid: five a block of the model, numbered from 1; barrier i is passed when i * gridDim.x arrivals
// were counted. Nobody arrives at one who has not seen the one before, or what depends on it.
inline constexpr int kGridBarriers = 5;
inline constexpr int kAfterQkv = 1;
__device__ constexpr int barrier_before(int linear) { return linear == kStepQkv ? 0 : linear + 1; }  // within a block

__device__ __forceinline__ void wait_for_grid(const TokenStepArgs& a, int layer, int barrier) {  // one thread
  const uint32_t wanted = static_cast<uint32_t>(kGridBarriers * layer + barrier) * gridDim.x;
  while (load_acquire(a.arrived) < wanted) {
  }
}

// Items i = blockIdx.x, + gridDim.x, ... of a linear, each of `parts` tiles of 16 rows.
template <class Body>
__device__ __forceinline__ void for_each_tile(const StepShape& shape, Body&& body) {
  for (int item = blockIdx.x; item < shape.items; item += gridDim.x)
    for (int part = 0; part < shape.parts; ++part) body(item + part * shape.items, part);
}

__device__ __forceinline__ int step_stages(const StepShape& shape) { return (shape.k + kStepK - 1) / kStepK; }

}  // namespace awq::backend::cuda
