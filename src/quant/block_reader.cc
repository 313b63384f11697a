#include "quant/block_reader.h"

#include <algorithm>

#include "quant/padding.h"

namespace awq::quant {

BlockReader::BlockReader(const io::Checkpoint& checkpoint, const model::ModelConfig& source,
                         const model::ModelConfig& config, backend::QuantEngine& engine, Timeline& timeline)
    : checkpoint_(checkpoint), source_(source), config_(config), engine_(engine), timeline_(timeline) {
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    uint64_t sum = 0;
    for (const model::TensorNeed& need : model::block_tensors(config, layer)) sum += bytes(need);
    largest_ = std::max(largest_, sum);
  }
}

uint64_t BlockReader::bytes(const model::TensorNeed& need) const {
  return io::TensorSpec{need.name, checkpoint_.info(need.name).dtype, need.shape}.bytes();
}

void BlockReader::start(int64_t layer) {
  reading_ = std::async(std::launch::async, [this, layer] { return read(layer); });
}

std::vector<backend::BlockTensor> BlockReader::take() { return reading_.get(); }

std::vector<backend::BlockTensor> BlockReader::read(int64_t layer) {
  const auto span = timeline_.span(Timeline::kRead, "read", layer);
  if (!memory_) memory_ = engine_.host_memory(largest_);  // 0.17 s for 440 MB of pinned memory
  const std::string prefix = model::block_prefix(layer);
  std::vector<backend::BlockTensor> tensors;
  uint64_t at = 0;
  const std::vector<model::TensorNeed> stored = model::block_tensors(source_, layer);
  for (const model::TensorNeed& need : model::block_tensors(config_, layer)) {
    const std::span<std::byte> to(memory_.get() + at, bytes(need));
    read_padded(need, stored[tensors.size()].shape, to);
    tensors.push_back({need.name.substr(prefix.size()), need.shape, checkpoint_.info(need.name).dtype, to});
    at += to.size();
  }
  return tensors;
}

void BlockReader::read_padded(const model::TensorNeed& need, const std::vector<int64_t>& stored,
                              std::span<std::byte> to) {
  if (stored == need.shape) return checkpoint_.read_bytes(need.name, to);
  unpadded_.resize(checkpoint_.info(need.name).bytes());
  checkpoint_.read_bytes(need.name, unpadded_);
  copy_padded(unpadded_, stored, to, need.shape);
}

}  // namespace awq::quant
