#include "backend/cpu/packed_linear.h"

#include <filesystem>
#include <optional>
#include <utility>

#include "backend/cpu/linear_w4a16.h"
#include "format/awq_checkpoint.h"
#include "format/salient.h"

namespace awq::backend::cpu {
namespace {

class PackedLinear final : public Linear {
 public:
  explicit PackedLinear(LinearW4A16 weights) : weights_(std::move(weights)) {}
  int64_t n() const override { return weights_.n(); }
  int64_t k() const override { return weights_.k(); }
  uint64_t bytes() const override { return weights_.bytes(); }
  std::string kernel_for(int64_t m) const override { return weights_.kernel_for(m); }
  void forward(ThreadPool& pool, MatrixView<const float> x, MatrixView<float> y) const override {
    weights_.forward(pool, x, y);
  }

 private:
  LinearW4A16 weights_;
};

}  // namespace

struct PackedLinears::Impl {
  const io::Checkpoint& checkpoint;
  const model::ModelConfig& config;
  std::string version;
  std::optional<io::SafetensorsFile> salient;
};

PackedLinears::PackedLinears(const io::Checkpoint& checkpoint, const model::ModelConfig& config,
                             const ExecutorOptions& options)
    : impl_(new Impl{checkpoint, config, options.version, std::nullopt}) {
  const std::filesystem::path side_file = checkpoint.folder() / format::kSalientFile;
  if (!options.ignore_salient && std::filesystem::exists(side_file)) impl_->salient.emplace(side_file);
}
PackedLinears::~PackedLinears() = default;

bool PackedLinears::has(const std::string& module) const {
  return format::is_quantized_module(impl_->checkpoint, module);
}

std::unique_ptr<Linear> PackedLinears::load(const std::string& module, int64_t n, int64_t k) const {
  const format::QuantizedLinear linear = format::read_linear(impl_->checkpoint, impl_->config, module, n, k);
  const format::SalientColumns salient =
      impl_->salient ? format::read_salient(*impl_->salient, module, n, k) : format::SalientColumns{};
  return std::make_unique<PackedLinear>(LinearW4A16(linear, salient, impl_->version));
}

}  // namespace awq::backend::cpu
