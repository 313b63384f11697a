#include "backend/cuda/current_gpu.h"

#include <fmt/format.h>

#include "backend/cuda/built_for.h"
#include "backend/cuda/failure.h"

namespace awq::backend::cuda {
namespace {

constexpr BuiltFor kBuiltFor[] = {AWQ_CUDA_BUILT_FOR};  // from cmake/cuda.cmake

}  // namespace

Gpu current_gpu() {
  int device = 0, major = 0, minor = 0;
  Gpu gpu;
  check(cudaGetDevice(&device), "finding the current device");
  const auto read = [&](int& value, cudaDeviceAttr attribute) {
    check(cudaDeviceGetAttribute(&value, attribute, device), "reading the device's limits");
  };
  read(major, cudaDevAttrComputeCapabilityMajor);
  read(minor, cudaDevAttrComputeCapabilityMinor);
  read(gpu.sms, cudaDevAttrMultiProcessorCount);
  read(gpu.smem_per_block, cudaDevAttrMaxSharedMemoryPerBlockOptin);
  const int device_is = 10 * major + minor, code_is = usable_capability(kBuiltFor, device_is);
  gpu.capability = code_is > 0 ? code_is : device_is;
  return gpu;
}

std::string current_gpu_name() {
  int device = 0;
  cudaDeviceProp properties{};
  if (cudaGetDevice(&device) != cudaSuccess || cudaGetDeviceProperties(&properties, device) != cudaSuccess)
    return "this device";
  return properties.name;
}

DeviceInfo as_device_info(const Gpu& gpu) {
  DeviceInfo info;
  info.kind = DeviceKind::kCuda;
  info.name = "this device";
  info.capability = usable_capability(kBuiltFor, gpu.capability);
  info.compute_units = gpu.sms;
  info.smem_per_block = static_cast<uint64_t>(gpu.smem_per_block);
  if (info.capability == 0)
    info.unusable = fmt::format(
        "this build has code for compute capability {}, not for {}.{}: rebuild with -DAWQ_CUDA_ARCHITECTURES={}",
        capabilities_of(kBuiltFor), gpu.capability / 10, gpu.capability % 10, gpu.capability);
  return info;
}

}  // namespace awq::backend::cuda
