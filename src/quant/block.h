// One decoder block: search the scales, fold them, clip, round. The heart of AWQ, free of files and of devices.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "awq/quantize.h"
#include "backend/device.h"
#include "format/quantized_linear.h"
#include "format/salient.h"
#include "model/config.h"

namespace awq::quant {

struct BlockLinear {
  std::string name;  // within the block
  format::QuantizedLinear packed;
  format::SalientColumns salient;
};

struct BlockResult {
  std::vector<BlockLinear> linears;
  std::vector<backend::FloatTensor> others;  // norms and whatever is not quantized, scales folded in
  std::vector<LinearReport> reports;         // names complete: "model.layers.3.mlp.down_proj"
};

// `stats` (and `inputs` under Objective::kModule) as QuantEngine::forward_block collected them for this block.
// `stage` is told what begins ("search", "clip", "pack").
BlockResult quantize_block(backend::QuantEngine&, const model::ModelConfig&, backend::FloatBlock block,
                           const std::vector<backend::InputStats>& stats, const std::vector<std::vector<float>>& inputs,
                           const QuantizeOptions&, const std::function<void(std::string_view stage)>& stage);

// True when `module` ("model.layers.3.mlp.gate_proj") contains one of the configured substrings.
bool is_kept(const QuantConfig&, std::string_view module);

}  // namespace awq::quant
