// The weights of a checkpoint folder as the plugin asks for them (plugin.h).
#pragma once
#include <optional>

#include "backend/cuda/plugin.h"
#include "core/thread_pool.h"
#include "io/checkpoint.h"

namespace awq::backend::cuda {

class CheckpointWeights final : public WeightSource {
 public:
  // Error(kBadInput) when a tensor is missing or of another shape than config.json implies. Both must outlive this.
  CheckpointWeights(const io::Checkpoint&, const model::ModelConfig&, const ExecutorOptions&);

  bool is_packed(const std::string& module) const override;
  bool has(const std::string& tensor) const override { return checkpoint_.has(tensor); }
  format::QuantizedLinear packed(const std::string& module, int64_t n, int64_t k) const override;
  std::optional<format::StoredLinear> stored(const std::string& module, int64_t n, int64_t k) const override;
  format::SalientColumns salient(const std::string& module, int64_t n, int64_t k) const override;
  void read_f16(const std::string& tensor, int64_t first, int64_t rows, std::span<f16_t> out) const override;
  std::vector<float> read_f32(const std::string& tensor) const override { return checkpoint_.read_f32(tensor); }

 private:
  const io::Checkpoint& checkpoint_;
  const model::ModelConfig& config_;
  std::optional<io::SafetensorsFile> salient_;
};

}  // namespace awq::backend::cuda
