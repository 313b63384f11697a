#include "backend/cuda/driver_failures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace awq::backend::cuda {
namespace {

constexpr Result kStubLibrary = 34, kNoDevice = 100;

struct Failure {
  Result code;
  std::string_view sentence;
};

// Codes: CUresult of cuda.h. kStubLibrary and kNoDevice depend on more than the code and have functions.
constexpr Failure kFailures[] = {
    {2, "the NVIDIA driver found no memory to start with: see what holds it (nvidia-smi, free -h) and try again"},
    {3, "CUDA was started before this process was forked and cannot be used in the child: fork first, or spawn"},
    {46,
     "every GPU is busy or closed to this process: see nvidia-smi for an exclusive process or a prohibited compute "
     "mode (nvidia-smi -c 0 opens the card), then try again"},
    {101, "the NVIDIA driver does not know the device that it listed: reboot, or reload the nvidia module"},
    {201, "the NVIDIA driver cannot create a context: see dmesg for a line with Xid, then reboot"},
    {214, "the GPU has an uncorrectable memory error: nvidia-smi -q -d ECC shows it; reset the card or reboot"},
    {220, "the NVLink of this machine has failed: nvidia-smi nvlink --status shows where; reboot"},
    {304,
     "the NVIDIA driver was refused by the operating system: check that /dev/nvidia* exist and are readable (a "
     "container needs --gpus all)"},
    {801, "the NVIDIA driver does not support this system: install the driver release that lists this GPU"},
    {802,
     "the NVIDIA driver is not ready, on machines with NVSwitch until the fabric manager runs: systemctl start "
     "nvidia-fabricmanager"},
    {803,
     "the NVIDIA kernel module and libcuda are of different releases, as after an update: reboot, or reload the "
     "nvidia module"},
    {804,
     "the CUDA compatibility package on the loader's path does not work with this GPU, only data-center cards "
     "take it: remove it from LD_LIBRARY_PATH and update the driver instead"},
    {805, "the connection to the MPS daemon failed: start nvidia-cuda-mps-control, or unset CUDA_MPS_PIPE_DIRECTORY"},
    {806, "the MPS server answered with an error: restart nvidia-cuda-mps-control"},
    {807, "the MPS server is not ready: try again in a moment"},
    {808, "the MPS server has no place for another client: wait for one to end"},
    {999,
     "the NVIDIA driver failed without a reason, often because the nvidia_uvm module is not loaded or the GPU was "
     "lost: run nvidia-modprobe -u, see dmesg for a line with Xid, or reboot"},
};

struct Release {
  int toolkit;
  std::string_view driver;
};
// First Linux driver of each major version of CUDA: table 3 of the CUDA toolkit's release notes.
constexpr Release kReleases[] = {{11, "450.80"}, {12, "525.60"}, {13, "580.65"}};

std::string stub_sentence(const std::string& file) {
  return fmt::format("{} is the CUDA toolkit's stub for linking, not a driver: remove its folder from LD_LIBRARY_PATH",
                     file);
}

std::string unlisted(const DriverApi& api, Result result, const char* doing) {
  const char* words = nullptr;
  if (api.error_string != nullptr && api.error_string(result, &words) != 0) words = nullptr;
  return fmt::format("the NVIDIA driver returned error {}{}{} when {}: see nvidia-smi and dmesg", result,
                     words == nullptr ? "" : ", ", words == nullptr ? "" : words, doing);
}

}  // namespace

std::string driver_failure(const DriverApi& api, Result result, const char* doing) {
  if (result == kStubLibrary) return stub_sentence(api.file);
  if (result == kNoDevice) return no_device_reason();
  const auto row = std::ranges::find(kFailures, result, &Failure::code);
  return row == std::end(kFailures) ? unlisted(api, result, doing)
                                    : fmt::format("{} (CUDA error {})", row->sentence, result);
}

std::string too_old_for(int toolkit, int driver_cuda) {
  if (driver_cuda / 1000 >= toolkit) return {};
  if (driver_cuda == 0)
    return "the driver does not tell which CUDA it supports: update the driver, or use --device cpu";
  const auto release = std::ranges::find(kReleases, toolkit, &Release::toolkit);
  return fmt::format("the driver supports CUDA {}.{}, this build needs {}.0{}: update the driver, or use --device cpu",
                     driver_cuda / 1000, driver_cuda % 1000 / 10, toolkit,
                     release == std::end(kReleases) ? "" : fmt::format(" (driver {} or newer)", release->driver));
}

std::string no_device_reason() {
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES"))
    return fmt::format("hidden by CUDA_VISIBLE_DEVICES='{}': unset it, or name a GPU that nvidia-smi -L lists",
                       visible);
  return "the NVIDIA driver sees no GPU: check nvidia-smi (a card in MIG mode needs an instance: nvidia-smi mig -cgi), "
         "or "
         "use --device cpu";
}

}  // namespace awq::backend::cuda
