// Plugins for the loader's tests; which kind is a compile definition, see tests/backend/CMakeLists.txt.
#include "backend/cuda/plugin.h"

#include "awq/error.h"

#ifdef FAKE_MISSES_A_SYMBOL
int awq_symbol_of_another_version();
#endif

namespace {

class FakePlugin final : public awq::backend::cuda::Plugin {
 public:
  std::unique_ptr<awq::backend::cuda::KernelLab> open_lab(const awq::DeviceInfo& device) const override {
    throw awq::Error(awq::ErrorKind::kNoRoom, "no room on " + device.name);
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

#ifdef FAKE_ABI
extern "C" int awq_cuda_plugin_abi() {
#  ifdef FAKE_MISSES_A_SYMBOL
  return awq_symbol_of_another_version();
#  else
  return FAKE_ABI;
#  endif
}
#endif

extern "C" const awq::backend::cuda::Plugin* awq_cuda_plugin() {
#ifdef FAKE_OFFERS_NOTHING
  return nullptr;
#else
  static const FakePlugin plugin;
  return &plugin;
#endif
}
