// The rules by which vLLM and SGLang cut 4-bit linears across GPUs (docs/loading.md): q, k, v, gate and up by outputs,
// o and down by inputs; q, k, v and gate, up are fused first.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "awq/serving.h"
#include "model/config.h"

namespace awq::format {

// Whether a linear ("model.layers.3.mlp.up_proj") is, or will be, in 4 bits.
using IsPacked = std::function<bool(const std::string& module)>;

// One check for each number of GPUs; Error(kUsage) for one that is not in 1 .. 1024.
std::vector<ServeCheck> check_serving(const model::ModelConfig&, const QuantConfig&, const IsPacked&,
                                      std::span<const int> gpus);

// The least intermediate size, not below the given one, that Marlin kernels run on each of these numbers of GPUs. Error
// (kUsage) when it is beyond reason.
int64_t serving_width(int64_t intermediate, int group_size, std::span<const int> gpus);

// What to do about the refusals, in one clause: options of `awq quantize` that make every check pass, or the numbers of
// GPUs that do. "" when there are none.
std::string serving_remedy(const model::ModelConfig&, const QuantConfig&, const IsPacked&, std::span<const int> gpus);

}  // namespace awq::format
