#include "backend/cuda/driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string_view>

#include "backend/cuda/capabilities.h"
#include "backend/cuda/driver_api.h"
#include "backend/cuda/driver_failures.h"
#include "backend/cuda/kernel_rows.h"

namespace awq::backend::cuda {
namespace {

constexpr int kNameCapacity = 256;
constexpr int kMostDevices = 1024;    // a count above is a driver's error, not a machine
constexpr int kLatestCuda = 100'000;  // 100.0

struct Driver {
  DriverApi api;
  int cuda = 0;         // 13000 is 13.0
  std::string release;  // "580.159.04"
  Build build;
};

std::vector<DeviceInfo> none(std::string reason) {
  DeviceInfo device;
  device.kind = DeviceKind::kCuda;
  device.index = -1;
  device.name = "CUDA";
  device.unusable = std::move(reason);
  return {device};
}

// 0 where the driver refuses or answers nonsense: every attribute used here is a positive quantity.
int attribute(const DriverApi& api, Attribute which, int handle) {
  int value = 0;
  return api.attribute(&value, which, handle) == 0 ? std::max(value, 0) : 0;
}

std::string name_of(const DriverApi& api, int handle) {
  char text[kNameCapacity + 1] = {};  // one more, so that it ends whatever the driver writes
  if (api.name(text, kNameCapacity, handle) != 0) text[0] = '\0';
  std::string name(text);
  std::ranges::replace_if(
      name, [](unsigned char c) { return !std::isprint(c); }, '?');
  return name.empty() ? "NVIDIA GPU" : name;
}

// "GPU-8e2bd2a0-...": 8-4-4-4-12 hexadecimal digits.
std::string uuid_of(const DriverApi& api, int handle, bool mig) {
  Uuid uuid{};
  if (api.uuid == nullptr || api.uuid(&uuid, handle) != 0) return {};
  std::string text = mig ? "MIG" : "GPU";
  for (int i = 0; i < 16; ++i)
    text += fmt::format("{}{:02x}", i == 0 || i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid.bytes[i]);
  return text;
}

// The driver appends the profile to the card's name: "NVIDIA A100-SXM4-40GB MIG 1g.5gb".
bool is_mig(std::string_view name) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return name.find(" MIG ") != name.npos || (visible != nullptr && std::string_view(visible).starts_with("MIG-"));
}

int least_capability() { return std::ranges::min(kCudaRows, {}, &KernelTraits::capability_min).capability_min; }

std::string dotted(int capability) { return fmt::format("{}.{}", capability / 10, capability % 10); }

// Why code of this build cannot run there; "" when it can.
std::string why_no_code(const Build& build, const DeviceInfo& d) {
  if (build.code.empty() || usable_capability(build.code, d.capability) > 0) return {};
  const CapabilityRow* row = capability_row(d.capability);
  const bool dropped = row != nullptr && row->last_toolkit != 0 && row->last_toolkit < build.toolkit;
  return fmt::format(
      "it has compute capability {} ({}), this build has code for {}: {}, or use --device cpu", dotted(d.capability),
      d.architecture, capabilities_of(build.code),
      dropped ? fmt::format("CUDA {} dropped it, take a build made with CUDA {}", build.toolkit, row->last_toolkit)
              : fmt::format("rebuild with -DAWQ_CUDA_ARCHITECTURES={}", d.capability));
}

std::string why_unusable(const Driver& driver, const DeviceInfo& d, int compute_mode) {
  if (d.capability <= 0) return "the driver does not tell its compute capability: update the driver";
  if (d.capability < least_capability())
    return fmt::format("it has compute capability {} ({}), every kernel here needs {} or higher: use --device cpu",
                       dotted(d.capability), d.architecture, dotted(least_capability()));
  if (compute_mode == kProhibited) return "its compute mode is 'prohibited': nvidia-smi -c 0 opens it to programs";
  const std::string no_code = why_no_code(driver.build, d);
  return no_code.empty() ? too_old_for(driver.build.toolkit, driver.cuda) : no_code;
}

void read_identity(const DriverApi& api, int handle, DeviceInfo& d) {
  d.name = name_of(api, handle);
  d.mig = is_mig(d.name);
  d.uuid = uuid_of(api, handle, d.mig);
  const int major = attribute(api, kCapabilityMajor, handle), minor = attribute(api, kCapabilityMinor, handle);
  if (major < 100 && minor < 10) d.capability = 10 * major + minor;
  d.architecture = architecture_name(d.capability);
}

void read_limits(const DriverApi& api, int handle, DeviceInfo& d) {
  d.compute_units = attribute(api, kMultiprocessors, handle);
  size_t bytes = 0;
  if (api.total_memory != nullptr && api.total_memory(&bytes, handle) == 0) d.memory_bytes = bytes;
  d.last_cache_bytes = static_cast<uint64_t>(attribute(api, kL2Bytes, handle));
  d.smem_per_block = static_cast<uint64_t>(attribute(api, kSmemPerBlockOptin, handle));
  if (d.mig) return;  // clock and bus are the card's, the slice's share of them is not told
  const int bytes_a_transfer = attribute(api, kBusWidth, handle) / 8;
  d.memory_bandwidth =
      2e3 * attribute(api, kClockOfMemory, handle) * bytes_a_transfer;  // two transfers a clock, in kHz
}

DeviceInfo describe(const Driver& driver, int index) {
  DeviceInfo d;
  d.kind = DeviceKind::kCuda;
  d.index = index;
  d.name = "NVIDIA GPU";
  d.driver_version = driver.release;
  d.driver_cuda_version = driver.cuda;
  int handle = 0;
  if (const Result failed = driver.api.device(&handle, index)) {
    d.unusable = driver_failure(driver.api, failed, "asked for a device");
    return d;
  }
  read_identity(driver.api, handle, d);
  read_limits(driver.api, handle, d);
  d.code_capability = usable_capability(driver.build.code, d.capability);
  d.unusable = why_unusable(driver, d, attribute(driver.api, kComputeMode, handle));
  return d;
}

}  // namespace

std::vector<DeviceInfo> detect(const DriverFiles& files, const Build& build) {
  Driver driver{.api = open_driver(files.cuda), .cuda = 0, .release = {}, .build = build};
  const DriverApi& api = driver.api;
  if (!api.problem.empty()) return none(api.problem);
  if (const Result failed = api.init(0)) return none(driver_failure(api, failed, "starting"));
  if (api.driver_version(&driver.cuda) != 0 || driver.cuda < 0 || driver.cuda > kLatestCuda) driver.cuda = 0;
  int count = 0;
  if (const Result failed = api.device_count(&count)) return none(driver_failure(api, failed, "counting devices"));
  if (count == 0) return none(no_device_reason());
  if (count < 0 || count > kMostDevices)
    return none(fmt::format("the NVIDIA driver reports {} devices: install it again", count));
  driver.release = driver_release(files.release, files.nvml);
  std::vector<DeviceInfo> found;
  for (int index = 0; index < count; ++index) found.push_back(describe(driver, index));
  return found;
}

}  // namespace awq::backend::cuda
