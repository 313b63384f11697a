// config.json as plain numbers, checked: every field is in a sane range and fits the others before anything is
// allocated.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "awq/config.h"

namespace awq::model {

struct Architecture;  // model/architectures.h

enum class RopeType { kDefault, kLinear, kLlama3 };
struct Rope {
  RopeType type = RopeType::kDefault;
  double theta = 10000;
  double factor = 1, low_freq_factor = 1, high_freq_factor = 4;
  int64_t original_max_position = 8192;
};

struct ModelConfig {
  const Architecture* arch = nullptr;
  int64_t hidden = 0, intermediate = 0, layers = 0, vocab = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  int64_t max_positions = 0;
  double norm_eps = 1e-6;
  Rope rope;
  int64_t sliding_window = 0;      // 0 = none
  std::vector<bool> layer_slides;  // per layer: uses sliding_window
  bool tied_embeddings = false;
  bool attention_bias = false, output_bias = false, mlp_bias = false;
  std::string source_dtype;       // "bfloat16", ...
  std::vector<int32_t> bos, eos;  // token ids, possibly several eos

  bool quantized = false;  // has a quantization_config that is read, then `quant` holds it
  QuantConfig quant;
};

// Error(kBadInput) naming the field, its value and the accepted range; or the architecture and the supported ones; or
// the quantization method that is not read. Both rope_theta/rope_scaling and transformers 5's rope_parameters are read.
ModelConfig parse_config(std::string_view config_json, const std::string& what);

}  // namespace awq::model
