// What quantizing is expected to need at most, from shapes alone: for the plan, before anything is allocated.
#pragma once
#include "backend/device.h"

namespace awq::backend {

QuantMemory cpu_quant_memory(const model::ModelConfig&, const QuantEngineOptions&);
QuantMemory cuda_quant_memory(const model::ModelConfig&, const QuantEngineOptions&);

}  // namespace awq::backend
