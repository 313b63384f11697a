#include "backend/cuda/cuda_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "awq/error.h"
#include "backend/cpu/rope.h"
#include "backend/cuda/checkpoint_weights.h"
#include "backend/cuda/driver.h"
#include "backend/cuda/kernel_rows.h"
#include "backend/cuda/plugin_loader.h"
#include "backend/quant_memory.h"

namespace awq::backend::cuda {
namespace {

std::string why_no_plugin() {
  try {
    plugin();
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

// -1 when it is no number.
int parse_index(std::string_view text) {
  if (text.empty()) return 0;
  int index = -1;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), index);
  return failed == std::errc() && end == text.data() + text.size() ? index : -1;
}

// The device that "cuda" or "cuda:1" means, able to run.
DeviceInfo usable_device(std::string_view text) {
  const std::vector<DeviceInfo> found = cuda_devices();
  if (found.front().index < 0) throw Error(ErrorKind::kDevice, "no CUDA device: " + found.front().unusable);
  const int index = parse_index(text);
  if (index < 0 || static_cast<size_t>(index) >= found.size())
    throw Error(ErrorKind::kDevice,
                fmt::format("device 'cuda:{}' does not exist: choose cuda:0{}, as awq devices lists "
                            "them",
                            text, found.size() == 1 ? "" : fmt::format(" to cuda:{}", found.size() - 1)));
  const DeviceInfo& device = found[static_cast<size_t>(index)];
  if (!device.unusable.empty())
    throw Error(ErrorKind::kDevice, fmt::format("cuda:{} ({}) is not usable: {}", index, device.name, device.unusable));
  return device;
}

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(DeviceInfo info) : info_(std::move(info)) {}
  const DeviceInfo& info() const override { return info_; }
  std::span<const KernelTraits> kernels() const override { return kCudaRows; }
  QuantMemory quant_memory(const model::ModelConfig& config, const QuantEngineOptions& options) const override {
    const uint64_t free = plugin().free_memory(info_) + kCudaContextBytes;  // it has been taken by the question
    return cuda_quant_memory(config, options, options.device_memory > 0 ? std::min(free, options.device_memory) : free);
  }
  std::unique_ptr<QuantEngine> quant_engine(const model::ModelConfig& config,
                                            const QuantEngineOptions& options) override {
    return plugin().quant_engine({.device = info_,
                                  .config = config,
                                  .options = options,
                                  .rope_frequencies = cpu::rope_frequencies(config.rope, config.head_dim)});
  }
  std::unique_ptr<Executor> load_executor(const io::Checkpoint& checkpoint, const model::ModelConfig& config,
                                          const ExecutorOptions& options) override {
    const CheckpointWeights weights(checkpoint, config, options);
    return plugin().load_executor({.device = info_,
                                   .config = config,
                                   .options = options,
                                   .rope_frequencies = cpu::rope_frequencies(config.rope, config.head_dim)},
                                  weights);
  }

 private:
  DeviceInfo info_;
};

}  // namespace

std::vector<DeviceInfo> cuda_devices() {
  std::vector<DeviceInfo> found = detect();
  const auto usable = [](const DeviceInfo& device) { return device.unusable.empty(); };
  if (std::ranges::none_of(found, usable)) return found;
  const std::string reason = why_no_plugin();
  for (DeviceInfo& device : found)
    if (usable(device)) device.unusable = reason;
  return found;
}

std::unique_ptr<Device> open_cuda(std::string_view index) { return std::make_unique<CudaDevice>(usable_device(index)); }

}  // namespace awq::backend::cuda
