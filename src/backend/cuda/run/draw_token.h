// A token of each row of logits, drawn on the device: the one that run::Sampler draws from them.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/cuda/run/step.h"
#include "core/token_weight.h"

namespace awq::backend::cuda {

inline constexpr int kDrawBlocks = 128;              // a row, at most
inline constexpr int kWeightBins = kWeightBits * 4;  // a quarter of a halving each
inline constexpr int kListed = 4096;                 // candidates that are sorted; more are searched for in the row
inline constexpr int64_t kMostDrawn = 64;            // rows of one launch

// What is known of a row once its weights have been added up. count = 0: nothing is left to choose.
struct DrawPlan {
  DrawNumbers numbers{};
  uint64_t total = 0;  // weight of all tokens
  float largest = 0;   // logit
  float least = 0;     // no token below it can be drawn
  int32_t count = 0;   // the most likely tokens that top-k leaves, or all that have a weight
};

// Working memory of a row. Zero before the first launch; each leaves the bins, `listed` and the tickets zero again.
struct DrawRow {
  uint64_t sums[kDrawBlocks];
  uint64_t bin_weights[kWeightBins];
  uint64_t list[kListed];  // keys of candidates, in any order
  DrawPlan plan;
  int32_t bin_counts[kWeightBins];
  int32_t listed, weighed_ticket, listed_ticket;
};

// After launch_pick of the same rows, whose `best` this reads and whose ids it leaves where `draws` says so
// (scale = 0) and where no logit is a number. `draws` and `ids` may be host memory mapped into the device; `draws` is
// read perhaps before the kernel ahead has ended.
struct DrawArgs {
  const float* logits;       // (m, vocab)
  const uint64_t* best;      // (m, kPickBlocks)
  const DrawNumbers* draws;  // (m)
  int32_t* ids;              // (m)
  DrawRow* rows;             // (m)
  int64_t m, vocab;          // m <= kMostDrawn
};
cudaError_t launch_draw(const DrawArgs&, const LaunchTarget&);

}  // namespace awq::backend::cuda
