#include "backend/cpu/cpu_device.h"

#include "backend/cpu/executor.h"
#include "backend/cpu/linear_w4a16.h"
#include "backend/cpu/quant_engine.h"
#include "backend/quant_memory.h"

namespace awq::backend::cpu {
namespace {

class CpuDevice final : public Device {
 public:
  const DeviceInfo& info() const override { return cpu_info(); }
  std::span<const KernelTraits> kernels() const override { return cpu_kernels(); }
  QuantMemory quant_memory(const model::ModelConfig& config, const QuantEngineOptions& options) const override {
    return cpu_quant_memory(config, options);
  }
  std::unique_ptr<QuantEngine> quant_engine(const model::ModelConfig& config,
                                            const QuantEngineOptions& options) override {
    return make_quant_engine(config, options);
  }
  std::unique_ptr<Executor> load_executor(const io::Checkpoint& checkpoint, const model::ModelConfig& config,
                                          const ExecutorOptions& options) override {
    return std::make_unique<CpuExecutor>(checkpoint, config, options);
  }
};

}  // namespace

std::unique_ptr<Device> open_cpu() { return std::make_unique<CpuDevice>(); }

}  // namespace awq::backend::cpu
