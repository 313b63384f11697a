// The CUDA backend as the rest of the library sees it.
#pragma once
#include <memory>
#include <string_view>
#include <vector>

#include "backend/device.h"

namespace awq::backend::cuda {

// What the driver lists (driver.h); a device without the plugin that holds its kernels is unusable, and says so.
std::vector<DeviceInfo> cuda_devices();

// `index`: "1" of "cuda:1", "" for the first. Throws Error(kDevice) with the reason.
std::unique_ptr<Device> open_cuda(std::string_view index);

}  // namespace awq::backend::cuda
