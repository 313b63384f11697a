// The list of backends. "auto" is the first GPU that can be used, else the CPU.
#include <string>
#include <string_view>

#include "backend/cpu/cpu_device.h"
#include "backend/cuda/cuda_device.h"
#include "backend/device.h"
#include "core/checked.h"

namespace awq::backend {
namespace {

struct BackendRow {
  std::string_view name;                              // also the part before ':' in "cuda:1"
  std::unique_ptr<Device> (*open)(std::string_view);  // gets the part after ':', "" when there is none
};

std::unique_ptr<Device> open_cpu_device(std::string_view index) {
  if (index.empty() || index == "0") return cpu::open_cpu();
  throw Error(ErrorKind::kDevice, "device 'cpu:" + std::string(index) + "' does not exist: there is one, 'cpu'");
}

constexpr BackendRow kBackends[] = {{"cpu", open_cpu_device}, {"cuda", cuda::open_cuda}};

// What a model runs on when nobody says: a GPU that the driver, the plugin and this build's kernels can all use.
std::unique_ptr<Device> open_best_device() {
  for (const DeviceInfo& device : cuda::cuda_devices())
    if (device.unusable.empty()) return cuda::open_cuda(std::to_string(device.index));
  return cpu::open_cpu();
}

std::string names() {
  std::string list = "auto";
  for (const BackendRow& row : kBackends) list += ", " + std::string(row.name);
  return list;
}

}  // namespace

std::unique_ptr<Device> open_device(std::string_view name) {
  if (name == "auto") return open_best_device();
  const size_t colon = name.find(':');
  for (const BackendRow& row : kBackends)
    if (row.name == name.substr(0, colon)) return row.open(colon == name.npos ? "" : name.substr(colon + 1));
  throw Error(ErrorKind::kDevice, "device '" + std::string(name) + "' is not in this build; it has: " + names());
}

}  // namespace awq::backend
