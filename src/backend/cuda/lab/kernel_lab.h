// The lab of plugin.h.
#pragma once
#include <memory>

#include "backend/cuda/plugin.h"

namespace awq::backend::cuda::lab {

std::unique_ptr<KernelLab> open_kernel_lab(const DeviceInfo&);

}  // namespace awq::backend::cuda::lab
