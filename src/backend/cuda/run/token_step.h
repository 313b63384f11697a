// One token of one context through all blocks of a model, in one launch (9.0): weights stream through shared memory
// without a pause, because what the next linear reads is known before its input is.
#pragma once
#include <cuda.h>

#include <cstdint>
#include <optional>

#include "awq/error.h"
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

struct StepHeads {
  const float *q_norm, *k_norm;  // (head_dim) or null
  int sliding_window;            // tokens; 0 = none
};

// What a block needs beside its weights.
struct alignas(16) StepBeside {
  StepHeads heads;
  const float *input_norm, *post_attention_norm;  // (hidden)
  const __half* bias[kStepLinears];               // (n) or null
};

// What the kernel knows of a block, in device memory.
struct alignas(128) StepBlock {
  StepMaps maps[kStepLinears];
  StepBeside beside;
};

// What the linears of all blocks have in common. Rows of gate and up come in turn (host_linear.h).
struct StepShape {
  int n = 0, k = 0;
  int tiles = 0;  // of 16 rows, which blocks of the grid take in turn
};

// Where the numbers that blocks of the grid hand to each other begin, in bytes of a copy (token_step_exchange.cuh).
struct StepExchange {
  int qkv = 0, partials = 0, attended = 0, middle = 0, activated = 0, hidden = 0;
  int bytes = 0;  // of a copy
};

struct TokenStepArgs {
  const StepBlock* blocks = nullptr;
  int layers = 0, group = 0;  // quantization group: 32, 64 or 128
  int grid = 0;               // blocks: at most the SMs, and tiles of gate and up
  StepShape shapes[kStepLinears];
  AttentionShape attention;
  float* hidden = nullptr;  // the residual stream, read and written
  const StepRow* row = nullptr;
  PageTable pages;
  const float2* rope = nullptr;
  float norm_eps = 0;
  unsigned char* exchange = nullptr;  // two copies: all bits set before the first launch
  StepExchange exchange_at;
  uint32_t* turn = nullptr;  // blocks of the model that went by in all launches
  int stages = 0;            // ring length
};

// Makes the launches. Throws Error for a model or GPU that the kernel does not take: what refusal() says.
class TokenStep {
 public:
  static std::optional<Error> refusal(const model::ModelConfig&, const DeviceModel&, const Gpu&);
  TokenStep(const model::ModelConfig&, const DeviceModel&, const Gpu&, cudaStream_t);
  uint64_t bytes() const;

  // The working memory of a step: what the launch reads and writes besides weights.
  struct Memory {
    float* hidden;
    const StepRow* row;
    PageTable pages;
    const float2* rope;
  };
  cudaError_t launch(const Memory&, const LaunchTarget&) const;

 private:
  TokenStepArgs args_;
  DeviceBuffer blocks_, exchange_, turn_;
};

// Shared memory that the ring and everything before it take.
int token_step_smem(const TokenStepArgs&, int stages);
// Blocks that share a kv head of the attention.
AWQ_HD constexpr int token_step_splits(const AttentionShape& s, int grid) {
  return grid / s.kv_heads < kMostStepSplits ? grid / s.kv_heads : kMostStepSplits;
}
// The layout of a copy of the exchange, for these shapes, heads and grid.
StepExchange step_exchange(const TokenStepArgs&);
cudaError_t launch_token_step(const TokenStepArgs&, const LaunchTarget&);

}  // namespace awq::backend::cuda
