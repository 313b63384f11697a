// The GPU that a benchmark runs on, by its name on the command line.
#pragma once
#include <memory>
#include <string_view>
#include <vector>

#include "awq/devices.h"
#include "backend/cuda/plugin.h"

namespace awq::bench {

// "cuda", "cuda:1", or "auto" for the first usable one. Throws Error(kDevice) with the reason when it is not usable.
DeviceInfo find_gpu(const std::vector<DeviceInfo>&, std::string_view name);

bool has_usable_gpu(const std::vector<DeviceInfo>&);

std::unique_ptr<backend::cuda::KernelLab> open_lab(const DeviceInfo&);  // through the plugin; throws Error(kDevice)

}  // namespace awq::bench
