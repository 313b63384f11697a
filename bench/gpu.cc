#include "bench/gpu.h"

#include <fmt/format.h>

#include <algorithm>

#include "awq/error.h"
#include "backend/cuda/plugin_loader.h"

namespace awq::bench {
namespace {

bool usable(const DeviceInfo& device) { return device.kind == DeviceKind::kCuda && device.unusable.empty(); }

// Why there is no GPU at all, where the driver said so.
std::string why_none(const std::vector<DeviceInfo>& all) {
  for (const DeviceInfo& device : all)
    if (device.kind == DeviceKind::kCuda && !device.unusable.empty()) return device.unusable;
  return "awq devices lists none";
}

}  // namespace

bool has_usable_gpu(const std::vector<DeviceInfo>& all) { return std::ranges::any_of(all, usable); }

DeviceInfo find_gpu(const std::vector<DeviceInfo>& all, std::string_view name) {
  if (name == "auto") {
    const auto first = std::ranges::find_if(all, usable);
    if (first == all.end()) throw Error(ErrorKind::kDevice, "no CUDA device: " + why_none(all));
    return *first;
  }
  const std::string wanted = name == "cuda" ? "cuda:0" : std::string(name);
  bool any = false;
  for (const DeviceInfo& device : all) {
    if (device.kind != DeviceKind::kCuda || device.index < 0) continue;
    any = true;
    if (wanted != fmt::format("cuda:{}", device.index)) continue;
    if (device.unusable.empty()) return device;
    throw Error(ErrorKind::kDevice, fmt::format("{} ({}) is not usable: {}", wanted, device.name, device.unusable));
  }
  if (!any) throw Error(ErrorKind::kDevice, "no CUDA device: " + why_none(all));
  throw Error(ErrorKind::kDevice, fmt::format("there is no device '{}'; awq devices lists those there are", name));
}

std::unique_ptr<backend::cuda::KernelLab> open_lab(const DeviceInfo& device) {
  return backend::cuda::plugin().open_lab(device);
}

}  // namespace awq::bench
