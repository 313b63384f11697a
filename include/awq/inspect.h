// What is in a checkpoint, from its headers alone: no weight is read.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "awq/serving.h"

namespace awq {

struct ModuleInfo {
  std::string name;    // "model.layers.3.mlp.down_proj"
  std::string format;  // "gemm", "compressed-tensors" ..., or the dtype of its weight: "BF16"
  bool quantized = false;
  int bits = 0, group_size = 0;  // of a quantized module
  std::vector<int64_t> shape;    // (output features, input features), or the shape of its weight
  uint64_t weights = 0;          // how many numbers it holds
  uint64_t bytes = 0;            // on disk, all its tensors and its share of the side file
  int64_t fp16_channels = 0;     // input channels with an fp16 correction (--keep-fp16)
};

struct CheckpointInfo {
  std::string folder, architecture;
  std::string layout;  // "gemm", "compressed-tensors" ...; empty when it is not quantized in a way that is read
  int bits = 0, group_size = 0;
  std::vector<ModuleInfo> modules;       // in the order of their names, block numbers as numbers
  uint64_t bytes = 0, weights = 0;       // of all modules
  double bits_per_weight = 0;            // of the whole checkpoint
  double quantized_bits_per_weight = 0;  // of the quantized modules
  std::vector<std::string> warnings;
  std::vector<ServeCheck> serving;  // of the numbers of GPUs that were asked about
  std::string serving_remedy;       // what to do about the refusals, or ""
};

// `model`: folder, or org/name in the local Hugging Face cache; `serve_tp`: numbers of GPUs to be served on. Error
// (kBadInput) when it is not a sound checkpoint, or with serve_tp when it is not quantized.
CheckpointInfo inspect(const std::string& model, std::span<const int> serve_tp = {});

}  // namespace awq
