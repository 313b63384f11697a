// The device that the calling thread has made current, as the kernels and the selection want it.
#pragma once
#include <string>

#include "awq/devices.h"
#include "backend/cuda/linear_launch.h"

namespace awq::backend::cuda {

// `capability` is that of the code that this build has for the device (built_for.h), the device's own where it has
// none: a kernel of an older chip waits for no kernel before it and knows no clusters. Throws Failure when there is no
// usable device.
Gpu current_gpu();
std::string current_gpu_name();  // slow to read (milliseconds): for sentences only

// For selection; `capability` is 0 where this build has no code for the device.
DeviceInfo as_device_info(const Gpu&);

}  // namespace awq::backend::cuda
