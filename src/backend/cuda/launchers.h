// The launcher of each kernel row; a kernel file defines its own, launchers.cc lists them in the order of kCudaRows.
#pragma once
#include <cstddef>

#include "backend/cuda/linear_launch.h"

namespace awq::backend::cuda {

extern const Launcher kGemvMmaSm80, kGemvPipelineSm90a, kGemmWgmmaSm90a, kGemmMmaSm80, kGemvMmaSm75, kGemmMmaSm75,
    kGemmDequantCublasLt, kGemvPortable, kGemmPortable;

const Launcher& launcher(size_t row);  // row of kCudaRows

}  // namespace awq::backend::cuda
