// Runs a model on the CPU: the new tokens of all sequences go through each linear together.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/cpu/kv_cache.h"
#include "backend/cpu/model_weights.h"
#include "backend/device.h"
#include "core/thread_pool.h"

namespace awq::backend::cpu {

class CpuExecutor final : public Executor {
 public:
  CpuExecutor(const io::Checkpoint&, const model::ModelConfig&, const ExecutorOptions&);
  const model::ModelConfig& config() const override { return config_; }
  void forward(std::span<const SequenceInput>, MatrixView<float> logits) override;
  void reset(int slot) override { cache(slot).clear(); }
  int64_t length(int slot) const override;
  std::string kernels() const override;
  uint64_t weight_bytes() const override { return weights_.bytes_a_token(); }
  uint64_t cache_bytes() const override {
    return static_cast<uint64_t>(2 * config_.layers * config_.kv_heads * config_.head_dim) * sizeof(float);
  }

 private:
  struct Segment {  // consecutive new tokens of one sequence within the chunk at hand
    int slot;
    std::span<const int32_t> tokens;
    int64_t row;  // of its first token in the chunk
    bool all_logits, ends_input;
  };
  KvCache& cache(int slot);
  void ensure_rows(int64_t rows);
  int64_t run_chunk(MatrixView<float> logits, int64_t done);
  void place_tokens();
  void run_block(int64_t layer, MatrixView<float> hidden);
  void attend(int64_t layer, int64_t rows);
  int64_t write_logits(MatrixView<float> hidden, MatrixView<float> logits, int64_t done);

  model::ModelConfig config_;
  int64_t capacity_;
  ThreadPool pool_;
  ModelWeights weights_;
  std::vector<DecoderBlock> blocks_;
  std::vector<KvCache> caches_;  // by slot
  RopeTable rope_;
  // Working memory, kept between calls so that the token loop does not allocate.
  int64_t max_rows_, rows_ = 0;
  std::unique_ptr<BlockBuffers> buffers_;
  std::unique_ptr<float[]> hidden_;  // (rows_, hidden)
  std::vector<Segment> segments_;
  std::vector<int64_t> positions_;
  std::vector<AttentionJob> jobs_;
};

}  // namespace awq::backend::cpu
