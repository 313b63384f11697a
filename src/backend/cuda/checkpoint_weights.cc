#include "backend/cuda/checkpoint_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "awq/error.h"
#include "format/awq_checkpoint.h"
#include "io/escape.h"
#include "model/architectures.h"

namespace awq::backend::cuda {
CheckpointWeights::CheckpointWeights(const io::Checkpoint& checkpoint, const model::ModelConfig& config,
                                     const ExecutorOptions& options)
    : checkpoint_(checkpoint), config_(config) {
  model::check_tensors(checkpoint, config);
  const std::filesystem::path side_file = checkpoint.folder() / format::kSalientFile;
  if (!options.ignore_salient && std::filesystem::exists(side_file)) salient_.emplace(side_file);
}

bool CheckpointWeights::is_packed(const std::string& module) const {
  return format::is_quantized_module(checkpoint_, module);
}

format::QuantizedLinear CheckpointWeights::packed(const std::string& module, int64_t n, int64_t k) const {
  return format::read_linear(checkpoint_, config_, module, n, k);
}

std::optional<format::StoredLinear> CheckpointWeights::stored(const std::string& module, int64_t n, int64_t k) const {
  return format::read_stored(checkpoint_, config_, module, n, k);
}

format::SalientColumns CheckpointWeights::salient(const std::string& module, int64_t n, int64_t k) const {
  return salient_ ? format::read_salient(*salient_, module, n, k) : format::SalientColumns{};
}

void CheckpointWeights::read_f16(const std::string& tensor, int64_t first, int64_t rows, std::span<f16_t> out) const {
  std::vector<float> values;
  if (const io::TensorInfo& info = checkpoint_.info(tensor); info.known && info.dtype == Dtype::kF16) {
    checkpoint_.read_rows(tensor, first, rows, std::as_writable_bytes(out));
  } else {
    values.resize(out.size());
    checkpoint_.read_f32(tensor, first, rows, values);
    std::transform(values.begin(), values.end(), out.begin(), f32_to_f16);
  }
  if (std::all_of(out.begin(), out.end(), is_finite_f16)) return;
  const auto bad = static_cast<size_t>(std::find_if_not(out.begin(), out.end(), is_finite_f16) - out.begin());
  throw Error(ErrorKind::kBadInput,
              fmt::format("tensor {} holds {}, which float16 on the GPU cannot: run with --device cpu",
                          io::printable(tensor), values.empty() ? f16_to_f32(out[bad]) : values[bad]));
}

}  // namespace awq::backend::cuda
