#include "awq/devices.h"

#include "backend/cpu/linear_w4a16.h"
#include "backend/cuda/cuda_device.h"
#include "backend/cuda/kernel_rows.h"
#include "backend/kernel_table.h"

namespace awq {
namespace {

// The one place that knows which table belongs to which kind of device.
std::span<const backend::KernelTraits> rows_of(const DeviceInfo& device) {
  switch (device.kind) {
    case DeviceKind::kCpu: return backend::cpu::cpu_kernels();
    case DeviceKind::kCuda: return backend::cuda::kCudaRows;
  }
  return {};
}

}  // namespace

std::vector<DeviceInfo> devices() {
  std::vector<DeviceInfo> all = backend::cuda::cuda_devices();
  all.insert(all.begin(), backend::cpu::cpu_info());
  return all;
}

std::vector<KernelStatus> kernel_status(const DeviceInfo& device, const Problem& problem) {
  std::vector<KernelStatus> status;
  for (const backend::KernelTraits& row : rows_of(device))
    status.push_back({std::string(row.name), row.family, backend::refusal(row, problem, device)});
  return status;
}

std::string select_kernel(const DeviceInfo& device, const Problem& problem, std::string_view version) {
  const auto rows = rows_of(device);
  return std::string(rows[backend::select_row(rows, problem, device, version)].name);
}

}  // namespace awq
