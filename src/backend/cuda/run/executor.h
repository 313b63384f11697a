// Runs a model on one GPU. A prompt goes through kernels launched one by one, a token of each of up to kMostTogether
// contexts through a captured graph, which reads tokens, positions and pages from memory and so replays unchanged.
#pragma once
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "backend/cuda/run/block_runner.h"

namespace awq::backend::cuda {

class CudaExecutor final : public Executor {
 public:
  CudaExecutor(const ExecutorRequest&, const WeightSource&);
  const model::ModelConfig& config() const override { return config_; }
  void forward(std::span<const SequenceInput>, MatrixView<float> logits) override;
  bool next_tokens(std::span<const SequenceInput>, std::span<const TokenDraw>, std::span<int32_t> ids) override;
  void reserve(std::span<const int> slots, int64_t tokens) override;
  void reset(int slot) override;
  int64_t length(int slot) const override { return lengths_.at(static_cast<size_t>(slot)); }
  std::string kernels() const override;
  uint64_t weight_bytes() const override { return model_.bytes_a_token(); }
  uint64_t cache_bytes() const override {
    return static_cast<uint64_t>(2 * config_.layers * config_.kv_heads * config_.head_dim) * sizeof(f16_t);
  }
  uint64_t memory_bytes() const override;
  std::vector<StageTime> time_stages(int sequences, int64_t context) override;

 private:
  // Where the logits of a call go: to host memory, or to the choice of a token, which without `draws` is the most
  // likely one.
  struct Wanted {
    MatrixView<float> logits;
    std::span<int32_t> ids;
    std::span<const TokenDraw> draws = {};
    int64_t done = 0;  // rows
  };
  void use_device() const;
  void make_room(int slot, int64_t tokens);
  void run(std::span<const SequenceInput>, Wanted);
  void run_chunks(std::span<const SequenceInput>, Wanted&);
  void run_chunk(Wanted&);
  void run_together(std::span<const SequenceInput>, Wanted&);
  void await_ids(int64_t m);
  void deliver(int64_t rows, Wanted&, bool here = false);
  void describe_draws(const Wanted&, int64_t rows, int64_t m);
  cudaGraphExec_t graph(int64_t m, bool draws);
  void step(int64_t m, bool draws);

  DeviceInfo device_;
  model::ModelConfig config_;
  int64_t capacity_;
  std::vector<int64_t> lengths_;  // by slot
  Gpu gpu_;
  Stream stream_;
  DeviceModel model_;
  PagePool pages_;
  RopeOnDevice rope_;
  BlockRunner runner_;
  // Read and written by the device while a step runs.
  Pinned<StepRow> step_rows_, chunk_rows_;
  Pinned<int32_t> ids_, chunk_picked_;
  Pinned<DrawNumbers> draws_;
  Pinned<Segment> chunk_segments_;
  int64_t chunk_rows_used_ = 0, chunk_segments_used_ = 0, chunk_picked_used_ = 0;
  Event chunk_read_;  // the chunk's description has been copied: it may be written again
  std::map<std::pair<int64_t, bool>, GraphExec> graphs_;  // by number of contexts, and whether tokens are drawn
};

}  // namespace awq::backend::cuda
