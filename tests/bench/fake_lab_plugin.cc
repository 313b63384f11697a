// A plugin whose GPU is made up: the real program's benchmark from the command line to its files.
#include "fake_lab.h"

namespace {

class LabPlugin final : public awq::backend::cuda::Plugin {
 public:
  std::unique_ptr<awq::backend::cuda::KernelLab> open_lab(const awq::DeviceInfo&) const override {
    return std::make_unique<awq::bench::FakeLab>();
  }
  std::unique_ptr<awq::backend::Executor> load_executor(const awq::backend::cuda::ExecutorRequest&,
                                                        const awq::backend::cuda::WeightSource&) const override {
    return nullptr;
  }
  std::unique_ptr<awq::backend::QuantEngine> quant_engine(const awq::backend::cuda::QuantRequest&) const override {
    return nullptr;
  }
};

}  // namespace

extern "C" int awq_cuda_plugin_abi() { return awq::backend::cuda::kPluginAbi; }

extern "C" const awq::backend::cuda::Plugin* awq_cuda_plugin() {
  static const LabPlugin plugin;
  return &plugin;
}
