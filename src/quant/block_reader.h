// Reads the next block while the one before it is computed: its tensors as the checkpoint holds them, one after the
// other in memory that the engine copies from fastest.
#pragma once
#include <cstdint>
#include <future>
#include <memory>
#include <vector>

#include "backend/device.h"
#include "io/checkpoint.h"
#include "model/architectures.h"
#include "quant/timeline.h"

namespace awq::quant {

class BlockReader {
 public:
  // `source` is the checkpoint's configuration, `config` that of the output: its MLP may be wider (padding.h).
  BlockReader(const io::Checkpoint&, const model::ModelConfig& source, const model::ModelConfig& config,
              backend::QuantEngine&, Timeline&);

  void start(int64_t layer);                 // what take() has returned is overwritten
  std::vector<backend::BlockTensor> take();  // of the layer that was started; throws what reading has thrown

 private:
  std::vector<backend::BlockTensor> read(int64_t layer);
  void read_padded(const model::TensorNeed&, const std::vector<int64_t>& stored, std::span<std::byte> to);
  uint64_t bytes(const model::TensorNeed&) const;

  const io::Checkpoint& checkpoint_;
  const model::ModelConfig &source_, &config_;
  backend::QuantEngine& engine_;
  Timeline& timeline_;
  uint64_t largest_ = 0;  // bytes of a block
  std::vector<std::byte> unpadded_;
  std::shared_ptr<std::byte[]> memory_;
  std::future<std::vector<backend::BlockTensor>> reading_;  // last: its destructor waits for the thread
};

}  // namespace awq::quant
