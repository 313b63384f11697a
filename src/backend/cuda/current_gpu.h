// The device that the calling thread has made current, as the kernels and the selection want it.
#pragma once
#include <string>

#include "awq/devices.h"
#include "backend/cuda/linear_launch.h"

namespace awq::backend::cuda {

Gpu current_gpu();               // throws Failure when there is no usable device
std::string current_gpu_name();  // slow to read (milliseconds): for sentences only

// For selection: `capability` is what this build has code for there (built_for.h).
DeviceInfo as_device_info(const Gpu&);

}  // namespace awq::backend::cuda
