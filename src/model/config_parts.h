// The parts of config.json that are objects of their own; each has its file.
#pragma once
#include <optional>

#include "model/config.h"
#include "model/fields.h"

namespace awq::model {

Rope parse_rope(const Fields& config, double default_theta, int64_t max_positions);

// nullopt when config.json has no quantization_config; Error(kBadInput) when it is one that is not read.
std::optional<QuantConfig> parse_quantization(const Fields& config);

// quantization_config of compressed-tensors (config_compressed.cc).
void parse_compressed_tensors(const Fields& quantization, QuantConfig& out);

// quantization_config of Model Optimizer (config_modelopt.cc).
void parse_modelopt(const Fields& quantization, QuantConfig& out);

}  // namespace awq::model
