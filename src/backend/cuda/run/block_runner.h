// Launches what one step of a model consists of, in order: embedding, blocks, head. Owns the working memory, all of it
// for its whole life, because a captured graph holds the addresses.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "backend/cuda/run/attention.h"
#include "backend/cuda/run/device_model.h"
#include "backend/cuda/run/draw_token.h"
#include "backend/cuda/run/page_pool.h"
#include "backend/cuda/run/pinned.h"
#include "backend/cuda/run/rope_table.h"
#include "backend/cuda/run/token_step.h"

namespace awq::backend::cuda {

inline constexpr int64_t kMostTogether = 64;  // contexts that get a token each in one graph

// How a step's rows attend: each to a context of its own, or many to one.
struct SegmentList {
  const Segment* segments = nullptr;  // device memory; null: one row a context
  int count = 0, longest = 0;
};

// One kind of work: `launch` puts it into the stream for a block, or once where it is not of a block.
struct Stage {
  std::string name;
  std::function<void(int64_t layer)> launch;
  bool of_block = true;
  std::function<uint64_t(int64_t layer)> bytes;  // of weights
};

// Whether a token of one context takes one launch for all blocks: never, where the kernel takes model and GPU, or
// always.
enum class InOneLaunch { kNever, kWherePossible, kAlways };

class BlockRunner {
 public:
  BlockRunner(const model::ModelConfig&, const DeviceModel&, const PagePool&, const RopeOnDevice&, const Gpu&,
              InOneLaunch, cudaStream_t);

  int64_t most_rows() const { return most_rows_; }    // in flight
  int64_t logit_rows() const { return logit_rows_; }  // whose logits there is room for, at least kMostTogether
  uint64_t bytes() const;

  // `rows`: mapped host memory. The other kernels read the copy that this makes.
  void embed(const StepRow* rows, int64_t m);
  void run_blocks(int64_t m, const SegmentList&);
  // What run_blocks(), run_head() and pick() launch, in order.
  std::vector<Stage> stages(int64_t m, const SegmentList&, int32_t* ids);
  // Logits of rows picked[0 .. m), or of the first m where it is null.
  void run_head(int64_t m, const int32_t* picked);
  void pick(int64_t m, int32_t* ids);
  // After pick(): draws the ids of the rows that are not to have the largest logit. `draws`: mapped host memory.
  void draw(int64_t m, const DrawNumbers* draws, int32_t* ids);

  // Whether all blocks take one launch.
  bool in_one(int64_t m, const SegmentList& list) const {
    return m == 1 && list.segments == nullptr && token_step_.has_value();
  }

  const float* logits() const { return logits_.as<float>(); }    // (m, vocab)
  Segment* segments() const { return segments_.as<Segment>(); }  // (most_rows)
  int32_t* picked() const { return picked_.as<int32_t>(); }      // (most_rows)

 private:
  void run_blocks_in_one();
  void attend(int64_t layer, int64_t m, const SegmentList&);
  void linear(const RunLinear&, const DeviceBuffer& x, const DeviceBuffer& y, int64_t m);
  bool gate_and_up(const RunLinear&, int64_t m);
  void activate(int64_t m);
  AttentionShape attention_shape(int64_t layer) const;
  void norm(const __half* y, const DeviceBuffer& weight, int64_t m, const int32_t* picked = nullptr,
            bool in_order = false);

  const model::ModelConfig& config_;
  const DeviceModel& model_;
  const PagePool& pages_;
  const RopeOnDevice& rope_;
  LaunchTarget on_;
  int64_t most_rows_, logit_rows_;
  bool best_made_ = false;           // by lm_head: best_ holds the largest logits of its blocks
  const __half* unadded_ = nullptr;  // what the blocks left for the norm behind them to add to hidden
  DeviceBuffer hidden_;              // f32 (most_rows, hidden)
  DeviceBuffer normed_, qkv_, attended_, gate_up_, activated_, out_;  // f16
  DeviceBuffer logits_, rows_, segments_, picked_;
  std::optional<TokenStep> token_step_;
  DeviceBuffer partials_, tickets_, best_, pick_tickets_, draw_rows_, head_ticket_, workspace_;
};

}  // namespace awq::backend::cuda
