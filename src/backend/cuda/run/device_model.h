// All weights of a model on the device.
#pragma once
#include <memory>
#include <vector>

#include "backend/cuda/run/run_linear.h"

namespace awq::backend::cuda {

struct DeviceBlock {
  DeviceBuffer input_norm, post_attention_norm;  // f32 (hidden)
  DeviceBuffer q_norm, k_norm;                   // f32 (head_dim), empty where the architecture has none
  RunLinear qkv, o, gate_up, down;
};

struct DeviceModel {
  std::vector<DeviceBlock> blocks;
  DeviceBuffer final_norm;                        // f32 (hidden)
  std::shared_ptr<DeviceBuffer> embedding, head;  // f16 (vocab, hidden); one where tied

  uint64_t block_bytes() const;    // of all blocks
  uint64_t bytes_a_token() const;  // everything but the embedding table
  uint64_t device_bytes() const;
  // Of the linears and lm_head, for up to `rows` rows at once.
  size_t workspace_bytes(int64_t rows) const;
};

// Throws Error for weights that do not fit the device or float16, and for a version that nothing here runs.
DeviceModel load_model(const ExecutorRequest&, const WeightSource&, const Gpu&, cudaStream_t);

}  // namespace awq::backend::cuda
