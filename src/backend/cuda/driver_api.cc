#include "backend/cuda/driver_api.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <sstream>

#include "backend/cuda/shared_library.h"

namespace awq::backend::cuda {
namespace {

constexpr int kReleaseCapacity = 80;  // NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE

std::string why_not_opened(const std::string& library) {
  const char* said = dlerror();
  const std::string reason = said == nullptr ? "no reason given" : said;
  if (!reason.starts_with(library + ": cannot open shared object file: No such file"))  // it, not what it needs
    return fmt::format("cannot load the NVIDIA driver: {}; install it again", reason);
  return fmt::format(
      "no NVIDIA driver found, {} is not on the loader's path: install the driver (a container needs --gpus all), or "
      "use --device cpu",
      library);
}

// Name of the first function that `library` lacks, or null.
const char* load_all(void* library, DriverApi& api) {
  if (!load_symbol(library, "cuInit", api.init)) return "cuInit";
  if (!load_symbol(library, "cuDriverGetVersion", api.driver_version)) return "cuDriverGetVersion";
  if (!load_symbol(library, "cuDeviceGetCount", api.device_count)) return "cuDeviceGetCount";
  if (!load_symbol(library, "cuDeviceGet", api.device)) return "cuDeviceGet";
  if (!load_symbol(library, "cuDeviceGetName", api.name)) return "cuDeviceGetName";
  if (!load_symbol(library, "cuDeviceGetAttribute", api.attribute)) return "cuDeviceGetAttribute";
  load_symbol(library, "cuDeviceTotalMem_v2", api.total_memory);
  load_symbol(library, "cuGetErrorString", api.error_string);
  // The second version tells the slices of a card apart; drivers before CUDA 11.4 lack it.
  if (!load_symbol(library, "cuDeviceGetUuid_v2", api.uuid)) load_symbol(library, "cuDeviceGetUuid", api.uuid);
  return nullptr;
}

// The first word like 580.159.04: digits and dots, three digits first.
std::string first_release_in(const std::string& text) {
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    const bool number = word.find_first_not_of("0123456789.") == word.npos;
    if (number && word.find('.') != word.npos && word.find('.') >= 3) return word;
  }
  return {};
}

std::string release_from_nvml(const std::string& nvml) {
  void* library = dlopen(nvml.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) return {};
  int (*start)() = nullptr;
  int (*stop)() = nullptr;
  int (*version)(char*, unsigned) = nullptr;
  if (!load_symbol(library, "nvmlInit_v2", start) || !load_symbol(library, "nvmlShutdown", stop) ||
      !load_symbol(library, "nvmlSystemGetDriverVersion", version) || start() != 0)
    return {};
  char text[kReleaseCapacity + 1] = {};  // one more, so that it ends whatever the library writes
  const bool told = version(text, kReleaseCapacity) == 0;
  stop();
  return told ? first_release_in(text) : "";
}

}  // namespace

DriverApi open_driver(const std::string& library) {
  DriverApi api;
  void* opened = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (opened == nullptr) {
    api.problem = why_not_opened(library);
    return api;
  }
  const char* missing = load_all(opened, api);
  Dl_info where{};
  if (api.init != nullptr && dladdr(reinterpret_cast<void*>(api.init), &where) != 0) api.file = where.dli_fname;
  if (missing == nullptr) return api;
  DriverApi none;
  none.problem = fmt::format("{} is not an NVIDIA driver: it has no {}; install the driver again",
                             api.file.empty() ? library : api.file, missing);
  return none;
}

std::string driver_release(const std::string& proc_file, const std::string& nvml) {
  std::ifstream file(proc_file);
  std::string words((std::istreambuf_iterator<char>(file)), {});
  const std::string release = first_release_in(words.substr(0, words.find('\n')));
  return release.empty() ? release_from_nvml(nvml) : release;
}

}  // namespace awq::backend::cuda
