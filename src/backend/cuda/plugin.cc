// What plugin.h promises, put together from the folders of this plugin.
#include "backend/cuda/plugin.h"

#include "backend/cuda/cuda_objects.h"
#include "backend/cuda/lab/kernel_lab.h"
#include "backend/cuda/quant/quant_engine.h"
#include "backend/cuda/run/executor.h"

namespace awq::backend::cuda {
namespace {

class CudaPlugin final : public Plugin {
 public:
  std::unique_ptr<KernelLab> open_lab(const DeviceInfo& device) const override { return lab::open_kernel_lab(device); }
  std::unique_ptr<Executor> load_executor(const ExecutorRequest& request, const WeightSource& source) const override {
    return std::make_unique<CudaExecutor>(request, source);
  }
  std::unique_ptr<QuantEngine> quant_engine(const QuantRequest& request) const override {
    return quant::make_quant_engine(request);
  }
  uint64_t free_memory(const DeviceInfo& device) const override {
    check_cuda(cudaSetDevice(device.index), "choosing the device");
    size_t free = 0, total = 0;
    check_cuda(cudaMemGetInfo(&free, &total), "asking for free device memory");
    return free;
  }
};

}  // namespace
}  // namespace awq::backend::cuda

extern "C" __attribute__((visibility("default"))) int awq_cuda_plugin_abi() { return awq::backend::cuda::kPluginAbi; }

extern "C" __attribute__((visibility("default"))) const awq::backend::cuda::Plugin* awq_cuda_plugin() {
  static const awq::backend::cuda::CudaPlugin plugin;
  return &plugin;
}
