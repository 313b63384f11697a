#include "backend/cuda/cuda_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "awq/error.h"
#include "backend/cuda/driver.h"
#include "backend/cuda/plugin_loader.h"

namespace awq::backend::cuda {
namespace {

std::string why_no_plugin() {
  try {
    plugin();
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

// -1 when it is no number.
int parse_index(std::string_view text) {
  if (text.empty()) return 0;
  int index = -1;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), index);
  return failed == std::errc() && end == text.data() + text.size() ? index : -1;
}

// The device that "cuda" or "cuda:1" means, able to run.
DeviceInfo usable_device(std::string_view text) {
  const std::vector<DeviceInfo> found = cuda_devices();
  if (found.front().index < 0) throw Error(ErrorKind::kDevice, "no CUDA device: " + found.front().unusable);
  const int index = parse_index(text);
  if (index < 0 || static_cast<size_t>(index) >= found.size())
    throw Error(ErrorKind::kDevice,
                fmt::format("device 'cuda:{}' does not exist: choose cuda:0{}, as awq devices lists "
                            "them",
                            text, found.size() == 1 ? "" : fmt::format(" to cuda:{}", found.size() - 1)));
  const DeviceInfo& device = found[static_cast<size_t>(index)];
  if (!device.unusable.empty())
    throw Error(ErrorKind::kDevice, fmt::format("cuda:{} ({}) is not usable: {}", index, device.name, device.unusable));
  return device;
}

}  // namespace

std::vector<DeviceInfo> cuda_devices() {
  std::vector<DeviceInfo> found = detect();
  const auto usable = [](const DeviceInfo& device) { return device.unusable.empty(); };
  if (std::ranges::none_of(found, usable)) return found;
  const std::string reason = why_no_plugin();
  for (DeviceInfo& device : found)
    if (usable(device)) device.unusable = reason;
  return found;
}

std::unique_ptr<Device> open_cuda(std::string_view index) {
  const DeviceInfo device = usable_device(index);
  throw Error(
      ErrorKind::kDevice,
      fmt::format("cuda:{} ({}) is usable, but running and quantizing models on a GPU is not in this version "
                  "yet, only awq bench --kernels --device cuda and the C interface awq/cuda.h: use --device cpu",
                  device.index, device.name));
}

}  // namespace awq::backend::cuda
