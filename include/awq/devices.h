// Devices of this machine, the kernels each can run, and the choice between them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace awq {

enum class DeviceKind { kCpu, kCuda };

// Bits of DeviceInfo::features for kCpu. A bit is set when CPUID has it and the operating system saves its registers.
enum CpuFeature : uint32_t {
  kAvx2 = 1u << 0,    // with FMA and F16C
  kAvx512 = 1u << 1,  // F, BW, DQ, VL
  kAvx512Vnni = 1u << 2,
  kAvx512Bf16 = 1u << 3,
  kAmxInt8 = 1u << 4,
  kAmxBf16 = 1u << 5,
  kAvxVnni = 1u << 6,  // the 256-bit VEX form
};

struct DeviceInfo {
  DeviceKind kind = DeviceKind::kCpu;
  int index = 0;
  std::string name;          // "AMD EPYC 9655", "NVIDIA H200"
  std::string architecture;  // "x86-64 AVX-512 VNNI", "Hopper"
  int capability = 0;        // CUDA: compute capability x 10; CPU: 0
  uint32_t features = 0;     // CpuFeature bits; CUDA: 0
  int compute_units = 0;     // cores / streaming multiprocessors
  uint64_t memory_bytes = 0;
  uint64_t last_cache_bytes = 0;  // L3 / L2
  std::string unusable;           // empty, or why nothing can run there

  // CUDA only; 0 or empty where the driver does not say.
  int code_capability = 0;      // of the code that this build has for it, x 10; 0: its own
  uint64_t smem_per_block = 0;  // bytes of shared memory that a block may ask for
  double memory_bandwidth = 0;  // bytes a second, from memory clock and bus width
  std::string driver_version;   // "580.159.04"
  int driver_cuda_version = 0;  // newest CUDA that the driver runs: 13000 is 13.0
  bool mig = false;             // a slice of a card: counts and memory are the slice's
  std::string uuid;             // "GPU-8e2b...", "MIG-..."
};

// Every device of this machine, the CPU first. Where there is no GPU to list: one entry of kind kCuda, index -1, with
// the reason in `unusable`. Never throws for a missing or broken driver.
std::vector<DeviceInfo> devices();

// A typical card of a compute capability, for asking what would be chosen on a card that one does not have: "8.6",
// "86", "sm_86", "sm_90a". Throws Error(kUsage) for anything else.
DeviceInfo assumed_device(std::string_view capability);

// y (m, n) = x (m, k) W' : one linear as a kernel sees it. group_size > 0 and divides k.
struct Problem {
  int64_t m = 1, n = 0, k = 0;
  int group_size = 128;
  bool bf16 = false;  // activations are bfloat16 instead of float16 (CUDA)
};
std::string to_string(const Problem&);

enum class KernelFamily { kGemv, kGemm };
std::string_view name(KernelFamily);  // "gemv", "gemm"

struct KernelStatus {
  std::string name;  // row name, also accepted by --version
  KernelFamily family;
  std::string why_not;  // empty: usable for this problem on this device
};

// One entry per row of the device's kernel table, in order of preference.
std::vector<KernelStatus> kernel_status(const DeviceInfo&, const Problem&);

// The row that will run. `version` is "auto", a family ("gemm", "gemv", any case) or a row name.
// Throws Error(kDevice) starting with "Kernel version not supported on this hardware" when the hardware is the reason,
// Error(kBadInput) when the shape is, Error(kUsage) for an unknown version.
std::string select_kernel(const DeviceInfo&, const Problem&, std::string_view version = "auto");

}  // namespace awq
