// The fake drivers, and an environment for them that a test leaves as it found it.
#pragma once
#include <cstdlib>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/cuda/driver.h"

namespace awq::test {

inline std::string fake_driver(const std::string& kind) { return FAKE_DRIVERS "/" + kind + "/libcuda.so.1"; }

class Environment {
 public:
  Environment(std::initializer_list<std::pair<const char*, std::string>> variables) {
    for (const auto& [name, value] : variables) {
      const char* before = std::getenv(name);
      before_.emplace_back(name, before == nullptr ? std::nullopt : std::optional<std::string>(before));
      setenv(name, value.c_str(), 1);
    }
  }
  ~Environment() {
    for (const auto& [name, value] : before_) value ? setenv(name.c_str(), value->c_str(), 1) : unsetenv(name.c_str());
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  std::vector<std::pair<std::string, std::optional<std::string>>> before_;
};

// The fakes look at it as the driver does: what the machine under the tests hides must not matter.
inline const bool kNothingHidden = unsetenv("CUDA_VISIBLE_DEVICES") == 0;

inline std::vector<DeviceInfo> detect_with(const std::string& kind, int toolkit = 12,
                                           std::span<const backend::cuda::BuiltFor> code = {}) {
  const backend::cuda::DriverFiles files{.cuda = fake_driver(kind), .nvml = fake_driver(kind), .release = "/no/such"};
  return backend::cuda::detect(files, {.toolkit = toolkit, .code = code});
}

}  // namespace awq::test
