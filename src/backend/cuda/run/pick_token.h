// The most likely token of each row of logits, on the device.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/cuda/run/step.h"

namespace awq::backend::cuda {

// ids[r] = the lowest id among the largest logits of row r, as run::most_likely; -1 when none is a number. `ids` may be
// host memory mapped into the device.
struct PickArgs {
  const float* logits;  // (m, vocab)
  int32_t* ids;         // (m)
  uint64_t* best;       // (m, kPickBlocks): scratch, or, where they are `made`, what the product left (DenseArgs::best)
  int32_t* tickets;     // (m): zero before the first launch, and after each
  int64_t m, vocab;
  bool made = false;
};
inline constexpr int kPickBlocks = 160;
cudaError_t launch_pick(const PickArgs&, const LaunchTarget&);

}  // namespace awq::backend::cuda
