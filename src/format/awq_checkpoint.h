// Quantized linears of an AWQ checkpoint, whichever layout it is in.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "format/quantized_linear.h"
#include "io/checkpoint.h"
#include "model/config.h"

namespace awq::format {

// Whether the checkpoint holds `module` ("model.layers.0.mlp.up_proj") packed. The tensors decide, not
// modules_to_not_convert: its substrings are matched differently by different writers.
bool is_quantized_module(const io::Checkpoint&, const std::string& module);

// group_size of the configuration with -1 resolved to k.
int resolved_group(const QuantConfig&, int64_t k);

// The linear with its bias. Error(kBadInput) naming the module when a tensor is missing, has another dtype or shape
// than quantization_config says, or holds scales that cannot be meant: NaN, infinite, all zero.
QuantizedLinear read_linear(const io::Checkpoint&, const model::ModelConfig&, const std::string& module, int64_t n,
                            int64_t k);

// The linear as it is stored (LayoutRow::stored). Nothing where read_linear has to look at it: another layout, tensors
// that differ from the plan, scales that cannot be meant.
std::optional<StoredLinear> read_stored(const io::Checkpoint&, const model::ModelConfig&, const std::string& module,
                                        int64_t n, int64_t k);

}  // namespace awq::format
