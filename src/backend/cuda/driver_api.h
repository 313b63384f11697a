// The few functions of NVIDIA's driver that detection needs, opened at run time: no header of CUDA, nothing to link,
// so the same program starts where there is no driver.
#pragma once
#include <cstddef>
#include <string>

namespace awq::backend::cuda {

using Result = int;  // CUresult; 0 is success

// Values of CUdevice_attribute; the driver's interface never renumbers them.
enum Attribute : int {
  kClockOfMemory = 36,  // kHz
  kBusWidth = 37,       // bits
  kL2Bytes = 38,
  kMultiprocessors = 16,
  kComputeMode = 20,  // see kProhibited
  kCapabilityMajor = 75,
  kCapabilityMinor = 76,
  kSmemPerBlockOptin = 97,  // bytes
};
inline constexpr int kProhibited = 2;  // a value of kComputeMode: no process may use the device

struct Uuid {
  unsigned char bytes[16];
};

struct DriverApi {
  Result (*init)(unsigned flags) = nullptr;
  Result (*driver_version)(int*) = nullptr;
  Result (*device_count)(int*) = nullptr;
  Result (*device)(int* handle, int ordinal) = nullptr;
  Result (*name)(char*, int capacity, int handle) = nullptr;
  Result (*attribute)(int*, int attribute, int handle) = nullptr;
  // Null in drivers that do not have them.
  Result (*total_memory)(size_t*, int handle) = nullptr;
  Result (*uuid)(Uuid*, int handle) = nullptr;
  Result (*error_string)(Result, const char**) = nullptr;

  std::string file;     // where it was found
  std::string problem;  // empty, or why there is no driver; then every pointer is null
};

// `library`: "libcuda.so.1", or a path. Stays open: a driver that has started must not be unloaded.
DriverApi open_driver(const std::string& library);

// "580.159.04" from the kernel module's own words (`proc_file`), else from NVML (`nvml`), else "".
std::string driver_release(const std::string& proc_file, const std::string& nvml);

}  // namespace awq::backend::cuda
