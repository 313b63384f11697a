// config.json of a checkpoint whose layout changes.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "model/config.h"

namespace awq {

// The input's settings for the layout `to`. `packed` tells which linears are in 4 bits.
QuantConfig converted_quant(const model::ModelConfig&, Layout to,
                            const std::function<bool(const std::string& module)>& packed);

// The text of config.json with quantization_config changed from one to the other, and nothing else.
std::string converted_config(std::string_view config_text, const QuantConfig& from, const QuantConfig& to);

}  // namespace awq
