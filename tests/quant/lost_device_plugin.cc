// A plugin whose device is lost in the middle of the work: an engine of the CPU that fails, from one call on, as a GPU
// does after an error that sticks. The environment says when:
//   LOSE_DEVICE_AT      the call, from 1, from which on each one fails; absent or 0: never
//   LOSE_DEVICE_REPORT  a file to write the number of calls to at the end
// tests/backend/cuda/gpu/lose_device.cc understands the same of a real GPU.
#include <cstdlib>
#include <fstream>

#include "awq/error.h"
#include "backend/cpu/cpu_device.h"
#include "backend/cuda/plugin.h"

namespace {

using namespace awq::backend;  // as many names as the interface has
using awq::MatrixView;

class Losing {
 public:
  ~Losing() {
    if (const char* file = std::getenv("LOSE_DEVICE_REPORT")) std::ofstream(file) << calls_ << "\n";
  }
  void call() {
    if (++calls_ >= lose_at_ && lose_at_ > 0)
      throw awq::Error(awq::ErrorKind::kDevice,
                       "CUDA reported \"unspecified launch failure\" (cudaErrorLaunchFailure) while reading a result");
  }

 private:
  static long from_environment() {
    const char* text = std::getenv("LOSE_DEVICE_AT");
    return text == nullptr ? 0 : std::atol(text);
  }
  long calls_ = 0, lose_at_ = from_environment();
};

class LostEngine final : public QuantEngine {
 public:
  explicit LostEngine(const cuda::QuantRequest& request)
      : engine_((losing_.call(), cpu_->quant_engine(request.config, request.options))) {}

  double measure_flops() override { return engine_->measure_flops(); }
  std::shared_ptr<std::byte[]> host_memory(uint64_t bytes) override { return engine_->host_memory(bytes); }
  void set_hidden(int64_t first, MatrixView<const float> rows) override { call().set_hidden(first, rows); }
  void get_hidden(int64_t first, MatrixView<float> rows) const override { engine_->get_hidden(first, rows); }
  void load_block(int64_t layer, std::span<const BlockTensor> tensors) override { call().load_block(layer, tensors); }
  void forward_block(const Forward& forward) override { call().forward_block(forward); }
  InputSummary input(size_t group) const override { return engine_->input(group); }
  std::vector<float> weight_mean(std::span<const SearchedLinear> linears) override {
    return call().weight_mean(linears);
  }
  std::vector<float> column_squares(std::string_view linear) override { return call().column_squares(linear); }
  std::vector<double> scale_losses(size_t group, std::span<const SearchedLinear> linears,
                                   std::span<const std::vector<float>> candidates) override {
    return call().scale_losses(group, linears, candidates);
  }
  std::vector<double> module_losses(size_t group, std::span<const SearchedLinear> linears,
                                    std::span<const std::vector<float>> candidates) override {
    return call().module_losses(group, linears, candidates);
  }
  double clip(size_t group, const SearchedLinear& linear, std::span<const float> scale, double loss) override {
    return call().clip(group, linear, scale, loss);
  }
  void fold(size_t group, std::span<const float> scale) override { call().fold(group, scale); }
  void pack(const SearchedLinear& linear, PackedLinear& to) override { call().pack(linear, to); }
  FloatTensor folded(std::string_view tensor) override { return call().folded(tensor); }

 private:
  QuantEngine& call() {
    losing_.call();
    return *engine_;
  }

  Losing losing_;
  std::unique_ptr<Device> cpu_ = cpu::open_cpu();
  std::unique_ptr<QuantEngine> engine_;
};

class LostPlugin final : public cuda::Plugin {
 public:
  std::unique_ptr<cuda::KernelLab> open_lab(const awq::DeviceInfo&) const override { return nullptr; }
  std::unique_ptr<Executor> load_executor(const cuda::ExecutorRequest&, const cuda::WeightSource&) const override {
    return nullptr;
  }
  std::unique_ptr<QuantEngine> quant_engine(const cuda::QuantRequest& request) const override {
    return std::make_unique<LostEngine>(request);
  }
};

}  // namespace

extern "C" int awq_cuda_plugin_abi() { return cuda::kPluginAbi; }

extern "C" const cuda::Plugin* awq_cuda_plugin() {
  static const LostPlugin plugin;
  return &plugin;
}
