// A driver for the tests, of no use but to answer what detection asks; the environment says what it answers:
//   FAKE_CUDA_DEVICES   "NVIDIA H200:90;Tesla T4 MIG 1g.5gb:75": name and compute capability x 10 of each device
//   FAKE_CUDA_INIT      result of cuInit
//   FAKE_CUDA_VERSION   what cuDriverGetVersion tells, 13000 by default
//   FAKE_CUDA_COUNT     what cuDeviceGetCount tells, the number of devices by default
//   FAKE_CUDA_DEVICE    result of cuDeviceGet
//   FAKE_CUDA_ODD       one of the words below: a driver that lies
// It also plays libnvidia-ml.so.1, of release FAKE_NVML_RELEASE. With FAKE_IS_NO_DRIVER it is a library without any of
// that, with FAKE_IS_STUB the toolkit's stub, which fails whatever is asked.
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

namespace {

[[maybe_unused]] std::string text(const char* variable) {
  const char* value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

[[maybe_unused]] int number(const char* variable, int otherwise) {
  const std::string value = text(variable);
  return value.empty() ? otherwise : std::atoi(value.c_str());
}

[[maybe_unused]] bool odd(const char* word) { return text("FAKE_CUDA_ODD") == word; }

[[maybe_unused]] std::vector<std::string> devices() {
  std::vector<std::string> all;
  std::istringstream list(text("FAKE_CUDA_DEVICES"));
  for (std::string device; std::getline(list, device, ';');) all.push_back(device);
  return all;
}

[[maybe_unused]] int capability(int handle) {
  const std::string device = devices().at(static_cast<size_t>(handle));
  return std::atoi(device.substr(device.rfind(':') + 1).c_str());
}

}  // namespace

extern "C" {

#if defined(FAKE_IS_NO_DRIVER)
int awq_nothing_of_interest() { return 0; }
#elif defined(FAKE_IS_STUB)
constexpr int kStubLibrary = 34;
int cuInit(unsigned) { return kStubLibrary; }
int cuDriverGetVersion(int*) { return kStubLibrary; }
int cuDeviceGetCount(int*) { return kStubLibrary; }
int cuDeviceGet(int*, int) { return kStubLibrary; }
int cuDeviceGetName(char*, int, int) { return kStubLibrary; }
int cuDeviceGetAttribute(int*, int, int) { return kStubLibrary; }
#else

// The real one counts what CUDA_VISIBLE_DEVICES leaves when it starts.
int cuInit(unsigned) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  const bool hides_all = visible != nullptr && (*visible == '\0' || *visible == '-');
  return number("FAKE_CUDA_INIT", hides_all ? 100 : 0);
}

int cuDriverGetVersion(int* version) {
  *version = number("FAKE_CUDA_VERSION", 13000);
  return 0;
}

int cuDeviceGetCount(int* count) {
  *count = number("FAKE_CUDA_COUNT", static_cast<int>(devices().size()));
  return 0;
}

int cuDeviceGet(int* handle, int ordinal) {
  *handle = ordinal;
  return number("FAKE_CUDA_DEVICE", 0);
}

int cuDeviceGetName(char* name, int capacity, int handle) {
  if (odd("name-fails")) return 1;
  if (odd("name-is-untouched")) return 0;
  if (odd("name-never-ends")) return std::memset(name, 'A', static_cast<size_t>(capacity)), 0;
  if (odd("name-is-binary")) return std::strncpy(name, "\x1b[31mGPU\n", static_cast<size_t>(capacity)), 0;
  const std::string device = devices().at(static_cast<size_t>(handle));
  std::strncpy(name, device.substr(0, device.rfind(':')).c_str(), static_cast<size_t>(capacity));
  return 0;
}

// Figures of an H200; see Attribute of driver_api.h.
int cuDeviceGetAttribute(int* value, int attribute, int handle) {
  if (odd("attributes-fail")) return 1;
  if (odd("attributes-are-negative")) return *value = -7, 0;
  if (odd("attributes-are-huge")) return *value = 2147483647, 0;
  switch (attribute) {
    case 16: *value = 132; break;
    case 20: *value = odd("prohibited") ? 2 : 0; break;
    case 36: *value = 3201000; break;
    case 37: *value = 6144; break;
    case 38: *value = 60 << 20; break;
    case 75: *value = capability(handle) / 10; break;
    case 76: *value = capability(handle) % 10; break;
    case 97: *value = 227 << 10; break;
    default: return 1;
  }
  return 0;
}

int cuDeviceTotalMem_v2(size_t* bytes, int) {
  *bytes = size_t{141} << 30;
  return 0;
}

int cuDeviceGetUuid_v2(unsigned char* uuid, int handle) {
  for (int i = 0; i < 16; ++i) uuid[i] = static_cast<unsigned char>(16 * handle + i);
  return 0;
}

int cuGetErrorString(int result, const char** words) {
  *words = odd("error-has-no-words") ? nullptr : "words of the driver";
  return result == 4321 ? 1 : 0;
}

int nvmlInit_v2() { return text("FAKE_NVML_RELEASE").empty() ? 1 : 0; }
int nvmlShutdown() { return 0; }
int nvmlSystemGetDriverVersion(char* version, unsigned capacity) {
  std::strncpy(version, text("FAKE_NVML_RELEASE").c_str(), capacity);
  return 0;
}

#endif
}
