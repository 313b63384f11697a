// The arithmetic of quantization on the CPU: Gram matrices, candidate losses, clipping, rounding.
#pragma once
#include <memory>

#include "backend/device.h"

namespace awq::backend::cpu {

std::unique_ptr<QuantEngine> make_quant_engine(const model::ModelConfig&, int threads);

}  // namespace awq::backend::cpu
