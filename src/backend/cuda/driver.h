// NVIDIA GPUs of this machine, as the driver describes them.
#pragma once
#include <string>
#include <vector>

#include "awq/devices.h"
#include "backend/cuda/this_build.h"

namespace awq::backend::cuda {

struct DriverFiles {
  std::string cuda = "libcuda.so.1";
  std::string nvml = "libnvidia-ml.so.1";
  std::string release = "/proc/driver/nvidia/version";
};

// The devices in the driver's order, which is what CUDA_VISIBLE_DEVICES leaves; those that no kernel can run on have
// `unusable` set. Where there is none: one entry with index -1, and the reason. Never throws, whatever the driver says.
std::vector<DeviceInfo> detect(const DriverFiles& = {}, const Build& = this_build());

}  // namespace awq::backend::cuda
