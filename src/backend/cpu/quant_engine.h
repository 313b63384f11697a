// The arithmetic of quantization on the CPU, in float32.
#pragma once
#include <memory>

#include "backend/device.h"

namespace awq::backend::cpu {

std::unique_ptr<QuantEngine> make_quant_engine(const model::ModelConfig&, const QuantEngineOptions&);

}  // namespace awq::backend::cpu
