#include "awq/devices.h"

#include <fmt/format.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "awq/error.h"
#include "module.h"

namespace awq::python {
namespace {

using namespace nb::literals;

std::string label(const DeviceInfo& d) { return d.kind == DeviceKind::kCpu ? "cpu" : fmt::format("cuda:{}", d.index); }

// "auto": the first usable GPU, else the CPU. "8.6", "sm_86": a typical card of that capability.
DeviceInfo device_named(const std::string& name) {
  const std::vector<DeviceInfo> all = devices();
  const auto wanted = [&](const DeviceInfo& d) {
    if (name == "auto") return d.kind == DeviceKind::kCuda && d.unusable.empty();
    return name == label(d) || (name == "cuda" && d.kind == DeviceKind::kCuda);
  };
  if (const auto found = std::ranges::find_if(all, wanted); found != all.end()) {
    if (found->unusable.empty()) return *found;
    throw Error(ErrorKind::kDevice, fmt::format("{}: {}", name, found->unusable));
  }
  if (name == "auto") return all.front();
  if (name.starts_with("cuda"))
    throw Error(ErrorKind::kDevice, fmt::format("there is no device {}; awq_cpp.devices() lists what there is", name));
  return assumed_device(name);
}

using AnyDevice = std::variant<DeviceInfo, std::string>;
DeviceInfo resolved(const AnyDevice& device) {
  const auto* info = std::get_if<DeviceInfo>(&device);
  return info != nullptr ? *info : device_named(std::get<std::string>(device));
}

Problem problem_of(int64_t m, int64_t n, int64_t k, int group_size, bool bf16) {
  return {.m = m, .n = n, .k = k, .group_size = group_size == -1 ? static_cast<int>(k) : group_size, .bf16 = bf16};
}

void bind_device_info(nb::module_& m) {
  nb::class_<DeviceInfo>(m, "Device", "A device of this machine: the CPU, or an NVIDIA GPU.")
      .def_prop_ro(
          "kind", [](const DeviceInfo& d) { return d.kind == DeviceKind::kCpu ? "cpu" : "cuda"; }, "'cpu' or 'cuda'")
      .def_prop_ro("label", label, "what `device=` takes: 'cpu', 'cuda:0'")
      .def_ro("index", &DeviceInfo::index, "number among its kind; -1 where there is no GPU to list")
      .def_ro("name", &DeviceInfo::name, "'NVIDIA H200'")
      .def_ro("architecture", &DeviceInfo::architecture, "'x86-64 AVX-512 VNNI', 'Hopper'")
      .def_ro("capability", &DeviceInfo::capability, "compute capability times 10; 0 for the CPU")
      .def_ro("compute_units", &DeviceInfo::compute_units, "cores, or streaming multiprocessors")
      .def_ro("memory_bytes", &DeviceInfo::memory_bytes)
      .def_ro("last_cache_bytes", &DeviceInfo::last_cache_bytes, "L3, or L2 of a GPU")
      .def_ro("memory_bandwidth", &DeviceInfo::memory_bandwidth, "bytes a second by clock and bus width; 0: not known")
      .def_ro("driver_version", &DeviceInfo::driver_version)
      .def_ro("uuid", &DeviceInfo::uuid)
      .def_ro("mig", &DeviceInfo::mig, "a slice of a card")
      .def_ro("unusable", &DeviceInfo::unusable, "empty, or why nothing can run there")
      .def("__repr__", [](const DeviceInfo& d) {
        return fmt::format("<awq_cpp.Device {} {}{}>", label(d), d.name,
                           d.unusable.empty() ? "" : ", unusable: " + d.unusable);
      });
}

}  // namespace

void bind_devices(nb::module_& m) {
  bind_device_info(m);
  nb::class_<KernelStatus>(m, "KernelStatus", "A kernel of a device, and whether it can run a linear.")
      .def_ro("name", &KernelStatus::name, "also what `version=` takes")
      .def_prop_ro(
          "family", [](const KernelStatus& s) { return std::string(name(s.family)); }, "'gemv' or 'gemm'")
      .def_ro("why_not", &KernelStatus::why_not, "empty: it can run it; else the one reason")
      .def_prop_ro("usable", [](const KernelStatus& s) { return s.why_not.empty(); })
      .def("__repr__", [](const KernelStatus& s) {
        return fmt::format("<awq_cpp.KernelStatus {} {}>", s.name, s.why_not.empty() ? "usable" : "no: " + s.why_not);
      });

  m.def("devices", &devices, nb::call_guard<nb::gil_scoped_release>(),
        "Every device of this machine, the CPU first. Where there is no GPU to list: one entry of kind 'cuda' and "
        "index -1 with the reason in `unusable`.");
  m.def(
      "kernel_status",
      [](const AnyDevice& device, int64_t tokens, int64_t n, int64_t k, int group_size, bool bf16) {
        return kernel_status(resolved(device), problem_of(tokens, n, k, group_size, bf16));
      },
      "device"_a = "auto", nb::kw_only(), "m"_a = 1, "n"_a = 4096, "k"_a = 4096, "group_size"_a = 128, "bf16"_a = false,
      nb::call_guard<nb::gil_scoped_release>(),
      "All kernels of a device for a linear y (m, n) = x (m, k) W', in order of preference.");
  m.def(
      "select_kernel",
      [](const AnyDevice& device, const std::string& version, int64_t tokens, int64_t n, int64_t k, int group_size,
         bool bf16) { return select_kernel(resolved(device), problem_of(tokens, n, k, group_size, bf16), version); },
      "device"_a = "auto", "version"_a = "auto", nb::kw_only(), "m"_a = 1, "n"_a = 4096, "k"_a = 4096,
      "group_size"_a = 128, "bf16"_a = false, nb::call_guard<nb::gil_scoped_release>(),
      "Name of the kernel that runs a linear y (m, n) = x (m, k) W' with 4-bit W.\n\n"
      "`device`: a Device, 'auto' (the first usable GPU, else the CPU), 'cpu', 'cuda:1', or a compute capability "
      "such as '8.6' or 'sm_86' to ask about a card that is not here. `version`: 'auto', a family ('gemm', 'gemv', "
      "any case) or a kernel's name. Raises DeviceError, a RuntimeError, that begins with \"Kernel version not "
      "supported on this hardware\" where the hardware is the reason.");
}

}  // namespace awq::python
