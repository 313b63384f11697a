// The parts of config.json that are objects of their own; each has its file.
#pragma once
#include "model/config.h"
#include "model/fields.h"

namespace awq::model {

Rope parse_rope(const Fields& config, double default_theta, int64_t max_positions);

// Fills quantized and quant; refuses every method but AWQ.
void parse_quantization(const Fields& config, ModelConfig& out);

}  // namespace awq::model
