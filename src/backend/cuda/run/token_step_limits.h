// What the token step takes, for the kernel and for the host that chooses it.
#pragma once
#include "backend/cuda/tile_layout.h"

namespace awq::backend::cuda {

inline constexpr int kStepWarps = 8, kStepThreads = 32 * kStepWarps;  // that multiply and attend
inline constexpr int kStepK = 4096, kStepUnits = kStepK / kPadK;      // of a stage of the ring
inline constexpr int kMostStepHeads = 8, kMostStepHeadDim = 128;      // query heads of a kv head
inline constexpr int kNormQuads = 8, kMostStepHidden = kNormQuads * kStepThreads * 4;
inline constexpr int kMostStepSplits = 32;  // blocks that share a kv head
inline constexpr int kLeastStepStages = 4, kMostStepStages = 32;

}  // namespace awq::backend::cuda
