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

// The block that the engine has loaded, and run with `collect` (and the inputs of module_groups() kept). `stage` is
// told what begins ("search", "clip", "pack"). The memory of `used`, a block that is no longer needed, is used again.
BlockResult quantize_block(backend::QuantEngine&, const model::ModelConfig&, int64_t layer, const QuantizeOptions&,
                           const std::function<void(std::string_view stage)>& stage, BlockResult used = {});

// Such memory for a first block, all of it written to: the system takes 0.1 s to hand out 200 MB of it.
BlockResult block_memory(const model::ModelConfig&, const QuantizeOptions&);

// Input channels of a linear that keep fp16.
int64_t salient_count(const QuantizeOptions&, int64_t k);

// Groups that are scored on a whole module: those of several linears, under Objective::kModule.
std::vector<size_t> module_groups(const model::ModelConfig&, const QuantizeOptions&);

// True when `module` ("model.layers.3.mlp.gate_proj") contains one of the configured substrings.
bool is_kept(const QuantConfig&, std::string_view module);

}  // namespace awq::quant
