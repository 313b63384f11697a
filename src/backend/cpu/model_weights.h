// All weights of a model in memory, in the form the CPU runs them.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/cpu/decoder_block.h"
#include "backend/cpu/linear.h"
#include "backend/cpu/stored_linear.h"
#include "backend/device.h"
#include "core/thread_pool.h"
#include "io/checkpoint.h"
#include "model/config.h"

namespace awq::backend::cpu {

struct BlockWeights {
  std::vector<float> input_norm, post_attention_norm, q_norm, k_norm;
  std::vector<std::unique_ptr<Linear>> linears;  // in the order of model::block_linears
  DecoderBlock view() const;                     // points into this
};

struct ModelWeights {
  std::shared_ptr<const StoredMatrix> embedding;  // (vocab, hidden)
  std::vector<BlockWeights> blocks;
  std::vector<float> final_norm;
  std::unique_ptr<Linear> head;
  uint64_t bytes_a_token() const;  // read to make one token: everything but the embedding table
};

// Error(kBadInput) when a tensor is missing or of another shape than config.json implies.
ModelWeights load_weights(const io::Checkpoint&, const model::ModelConfig&, const ExecutorOptions&, ThreadPool&);

}  // namespace awq::backend::cpu
