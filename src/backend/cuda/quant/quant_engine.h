// QuantEngine on one GPU.
#pragma once
#include <memory>

#include "backend/cuda/plugin.h"

namespace awq::backend::cuda::quant {

std::unique_ptr<QuantEngine> make_quant_engine(const QuantRequest&);

}  // namespace awq::backend::cuda::quant
