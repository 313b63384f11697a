// One token of one context through all blocks of a model, in one launch (9.0): weights stream through shared memory
// without a pause, because what the next linear reads is known before its input is.
#pragma once
#include <cuda.h>

#include <cstdint>
#include <vector>

#include "backend/cuda/run/attention.h"
#include "backend/cuda/run/device_model.h"
#include "backend/cuda/run/token_step_limits.h"

namespace awq::backend::cuda {

// The linears of a block in the order in which a token passes them.
enum StepLinear : int { kStepQkv, kStepO, kStepGateUp, kStepDown, kStepLinears };

// Boxes of a stage: 16 rows x kStepK of weights, and the scales and zero points of their groups.
struct StepMaps {
  CUtensorMap qweight, scales, zeros;
};

// What the kernel knows of a block, in device memory.
struct alignas(128) StepBlock {
  StepMaps maps[kStepLinears];
  const __half* bias[kStepLinears];  // (n) or null
  const float* norm[kStepLinears];   // (k): x is the residual stream, normed; null: x is f16 as it stands
  const float *q_norm, *k_norm;      // (head_dim) or null
  int sliding_window;                // tokens; 0 = none
};

// What the linears of all blocks have in common.
struct StepShape {
  int n = 0, k = 0;
  int items = 0;  // that blocks of the grid take in turn: a tile of 16 rows, or for gate and up one of each
  int parts = 1;  // tiles of an item, `n / parts` rows apart
};

struct TokenStepArgs {
  const StepBlock* blocks = nullptr;
  int layers = 0, group = 0;  // quantization group: 32, 64 or 128
  StepShape shapes[kStepLinears];
  AttentionShape attention;
  const __half* x[kStepLinears] = {};  // where norm is null: attended, activated
  float* hidden = nullptr;             // the residual stream, read and written
  __half *qkv = nullptr, *attended = nullptr, *activated = nullptr;
  const StepRow* row = nullptr;
  PageTable pages;
  const float2* rope = nullptr;
  float norm_eps = 0;
  SplitScratch scratch;
  uint32_t* arrived = nullptr;  // of the grid's barriers: 0 before the first launch and after each
  int stages = 0;               // ring length
};

// Makes the launches. Throws Error for a model or GPU that the kernel does not take, with what it does.
class TokenStep {
 public:
  TokenStep(const model::ModelConfig&, const DeviceModel&, const Gpu&, cudaStream_t);
  uint64_t bytes() const;

  // The working memory of a step: what the launch reads and writes besides weights.
  struct Memory {
    float* hidden;
    __half *qkv, *attended, *activated;
    const StepRow* row;
    PageTable pages;
    const float2* rope;
  };
  cudaError_t launch(const Memory&, const LaunchTarget&) const;

 private:
  TokenStepArgs args_;
  int sms_ = 0;
  DeviceBuffer blocks_, partials_, counters_;
};

// Shared memory that the ring and everything before it take.
int token_step_smem(const TokenStepArgs&, int stages);
// Blocks that share a kv head of the attention.
AWQ_HD constexpr int token_step_splits(const AttentionShape& s, int sms) {
  return sms / s.kv_heads < kMostStepSplits ? sms / s.kv_heads : kMostStepSplits;
}
cudaError_t launch_token_step(const TokenStepArgs&, int sms, const LaunchTarget&);

}  // namespace awq::backend::cuda
