// What quantizing is expected to need at most, from shapes alone: for the plan, before anything is allocated.
#pragma once
#include "backend/device.h"

namespace awq::backend {

QuantMemory cpu_quant_memory(const model::ModelConfig&, const QuantEngineOptions&);

// Of a process on a GPU before any buffer of ours: the driver's, with the kernels and cuBLASLt. 0.53 GB on an H200.
inline constexpr uint64_t kCudaContextBytes = uint64_t{600} << 20;

// The plan that fits into `available` bytes of the device, the context's included, in this order: as asked for, fewer
// windows in flight, one linear at a time instead of a block. The last one where none fits.
QuantMemory cuda_quant_memory(const model::ModelConfig&, const QuantEngineOptions&, uint64_t available);

}  // namespace awq::backend
