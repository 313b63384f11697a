#include "backend/cuda/run/block_runner.h"

#include <algorithm>

#include "backend/cuda/run/dense_stream.h"
#include "backend/cuda/run/failure_as_error.h"
#include "backend/cuda/run/pick_token.h"
#include "backend/cuda/run/row_kernels.h"
#include "model/architectures.h"

namespace awq::backend::cuda {
namespace {

// Rows in flight: as many as 512 MB of intermediate results hold, so that a long prompt costs bounded memory; beyond
// 2048 the linears gain nothing.
constexpr int64_t kBufferBytes = 512 << 20, kLeastRows = 64, kMostRows = 2048;
constexpr int64_t kLogitBytes = 64 << 20;

int64_t row_bytes(const model::ModelConfig& c) {
  const int64_t qkv = (c.heads + 2 * c.kv_heads) * c.head_dim;
  return 4 * c.hidden + 2 * (2 * c.hidden + qkv + c.heads * c.head_dim + 3 * c.intermediate);
}

size_t halves(int64_t rows, int64_t columns) { return static_cast<size_t>(rows * columns) * sizeof(__half); }

void launched(cudaError_t status, const char* what) { check_cuda(status, what); }

}  // namespace

BlockRunner::BlockRunner(const model::ModelConfig& config, const DeviceModel& model, const PagePool& pages,
                         const RopeOnDevice& rope, const Gpu& gpu, InOneLaunch in_one, cudaStream_t stream)
    : config_(config),
      model_(model),
      pages_(pages),
      rope_(rope),
      on_{stream, gpu.capability >= 90, gpu.sms, gpu.capability >= 90, gpu.smem_per_block},
      most_rows_(std::clamp(kBufferBytes / row_bytes(config), kLeastRows, kMostRows)),
      logit_rows_(std::clamp(kLogitBytes / (config.vocab * int64_t{sizeof(float)}), kMostTogether, most_rows_)) {
  const int64_t heads = config.heads * config.head_dim, kv = config.kv_heads * config.head_dim;
  hidden_.reserve(static_cast<size_t>(most_rows_ * config.hidden) * sizeof(float));
  normed_.reserve(halves(most_rows_, config.hidden));
  qkv_.reserve(halves(most_rows_, heads + 2 * kv));
  attended_.reserve(halves(most_rows_, heads));
  gate_up_.reserve(halves(most_rows_, 2 * config.intermediate));
  activated_.reserve(halves(most_rows_, config.intermediate));
  out_.reserve(halves(most_rows_, config.hidden));
  logits_.reserve(static_cast<size_t>(logit_rows_ * config.vocab) * sizeof(float));
  rows_.reserve(static_cast<size_t>(most_rows_) * sizeof(StepRow));
  segments_.reserve(static_cast<size_t>(most_rows_) * sizeof(Segment));
  picked_.reserve(static_cast<size_t>(most_rows_) * sizeof(int32_t));
  best_.reserve(static_cast<size_t>(logit_rows_) * kPickBlocks * sizeof(uint64_t));
  workspace_.reserve(std::max<size_t>(model.workspace_bytes(most_rows_), 16));
  const AttentionShape shape = attention_shape(0);
  int64_t floats = 0;
  for (int64_t m = 1; m <= kMostTogether; ++m)
    floats = std::max(floats, split_floats(shape, m, attention_splits(shape, m, gpu.sms)));
  partials_.reserve(static_cast<size_t>(floats) * sizeof(float));
  tickets_.reserve(static_cast<size_t>(split_tickets(shape, kMostTogether)) * sizeof(int32_t));
  pick_tickets_.reserve(static_cast<size_t>(logit_rows_) * sizeof(int32_t));
  draw_rows_.reserve(kMostDrawn * sizeof(DrawRow));
  head_ticket_.reserve(sizeof(int32_t));
  if (in_one == InOneLaunch::kAlways ||
      (in_one == InOneLaunch::kWherePossible && !TokenStep::refusal(config, model, gpu)))
    token_step_.emplace(config, model, gpu, stream);
  for (const DeviceBuffer* zeroed : {&tickets_, &pick_tickets_, &draw_rows_, &head_ticket_})
    check_cuda(cudaMemsetAsync(zeroed->as(), 0, zeroed->bytes(), stream), "clearing working memory");
  // Rows that fill up a batch attend to nothing and leave theirs as it is: it must be numbers.
  check_cuda(cudaMemsetAsync(attended_.as(), 0, attended_.bytes(), stream), "clearing working memory");
}

uint64_t BlockRunner::bytes() const {
  uint64_t sum = token_step_ ? token_step_->bytes() : 0;
  for (const DeviceBuffer* b :
       {&hidden_, &normed_, &qkv_, &attended_, &gate_up_, &activated_, &out_, &logits_, &rows_, &segments_, &picked_,
        &partials_, &tickets_, &best_, &pick_tickets_, &draw_rows_, &head_ticket_, &workspace_})
    sum += b->bytes();
  return sum;
}

AttentionShape BlockRunner::attention_shape(int64_t layer) const {
  const bool slides = layer < std::ssize(config_.layer_slides) && config_.layer_slides[static_cast<size_t>(layer)];
  return {.heads = static_cast<int>(config_.heads),
          .kv_heads = static_cast<int>(config_.kv_heads),
          .head_dim = static_cast<int>(config_.head_dim),
          .sliding_window = slides ? static_cast<int>(config_.sliding_window) : 0,
          .layer = static_cast<int>(layer)};
}

void BlockRunner::embed(const StepRow* rows, int64_t m) {
  launched(launch_embed({.rows = rows,
                         .rows_out = rows_.as<StepRow>(),
                         .embedding = model_.embedding->as<__half>(),
                         .hidden = hidden_.as<float>(),
                         .m = m,
                         .n = config_.hidden},
                        on_),
           "launching the embedding");
}

void BlockRunner::norm(const __half* y, const DeviceBuffer& weight, int64_t m, const int32_t* picked, bool in_order) {
  launched(launch_add_norm({.hidden = hidden_.as<float>(),
                            .y = y,
                            .weight = weight.as<float>(),
                            .out = normed_.as<__half>(),
                            .picked = picked,
                            .m = m,
                            .n = config_.hidden,
                            .eps = static_cast<float>(config_.norm_eps),
                            .in_order = in_order},
                           on_),
           "launching a norm");
}

void BlockRunner::attend(int64_t layer, int64_t m, const SegmentList& list) {
  const DeviceBlock& block = model_.blocks[static_cast<size_t>(layer)];
  const AttentionArgs args{.shape = attention_shape(layer),
                           .qkv = qkv_.as<__half>(),
                           .out = attended_.as<__half>(),
                           .rows = rows_.as<StepRow>(),
                           .m = m,
                           .pages = pages_.table(),
                           .rope = rope_.data(),
                           .q_norm = block.q_norm.as<float>(),
                           .k_norm = block.k_norm.as<float>(),
                           .norm_eps = static_cast<float>(config_.norm_eps)};
  if (list.segments == nullptr) {
    const SplitScratch scratch{partials_.as<float>(), tickets_.as<int32_t>()};
    const int splits = attention_splits(args.shape, m, on_.sms);
    return launched(launch_attend_one(args, splits, scratch, on_), "launching attention");
  }
  launched(launch_append(args, on_), "launching the rotation");
  launched(launch_attend_many(args, list.segments, list.count, list.longest, on_), "launching attention");
}

void BlockRunner::linear(const RunLinear& w, const DeviceBuffer& x, const DeviceBuffer& y, int64_t m) {
  w.forward(x.as(), y.as(), m, workspace_, on_);
}

// True where the kernel goes as far as silu(gate) up; else activate() is left to do.
bool BlockRunner::gate_and_up(const RunLinear& w, int64_t m) {
  const bool gates = w.gates(m);
  w.forward(normed_.as(), (gates ? activated_ : gate_up_).as(), m, workspace_, on_, gates);
  return gates;
}

void BlockRunner::activate(int64_t m) {
  launched(launch_silu_mul(gate_up_.as<__half>(), activated_.as<__half>(), m, config_.intermediate, on_),
           "launching the activation");
}

void BlockRunner::run_blocks_in_one() {
  unadded_ = nullptr;
  launched(
      token_step_->launch(
          {.hidden = hidden_.as<float>(), .row = rows_.as<StepRow>(), .pages = pages_.table(), .rope = rope_.data()},
          on_),
      "launching all blocks");
}

void BlockRunner::run_blocks(int64_t m, const SegmentList& list) {
  if (in_one(m, list)) return run_blocks_in_one();
  unadded_ = out_.as<__half>();
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    const DeviceBlock& block = model_.blocks[static_cast<size_t>(layer)];
    norm(layer == 0 ? nullptr : out_.as<__half>(), block.input_norm, m, nullptr, layer == 0);
    linear(block.qkv, normed_, qkv_, m);
    attend(layer, m, list);
    linear(block.o, attended_, out_, m);
    norm(out_.as<__half>(), block.post_attention_norm, m);
    if (!gate_and_up(block.gate_up, m)) activate(m);
    linear(block.down, activated_, out_, m);
  }
}

std::vector<Stage> BlockRunner::stages(int64_t m, const SegmentList& list, int32_t* ids) {
  const auto block = [this](int64_t layer) -> const DeviceBlock& { return model_.blocks[static_cast<size_t>(layer)]; };
  const auto none = [](int64_t) { return uint64_t{0}; };
  const auto of = [&](const char* name, RunLinear DeviceBlock::*w, const DeviceBuffer& x, const DeviceBuffer& y) {
    return Stage{name, [=, this, &x, &y](int64_t layer) { linear(block(layer).*w, x, y, m); }, true,
                 [=](int64_t layer) { return (block(layer).*w).bytes(); }};
  };
  const Stage head{"lm_head", [=, this](int64_t) { run_head(m, nullptr); }, false,
                   [this](int64_t) { return uint64_t{model_.head->bytes()}; }};
  const Stage picked{"pick", [=, this](int64_t) { pick(m, ids); }, false, none};
  if (in_one(m, list))
    return {{"all blocks", [this](int64_t) { run_blocks_in_one(); }, false,
             [this](int64_t) { return model_.block_bytes(); }},
            head,
            picked};
  std::vector<Stage> all = {
      {"norm 1", [=, this](int64_t l) { norm(out_.as<__half>(), block(l).input_norm, m); }, true, none},
      of("q k v", &DeviceBlock::qkv, normed_, qkv_),
      {"attention", [=, this](int64_t l) { attend(l, m, list); }, true, none},
      of("o", &DeviceBlock::o, attended_, out_),
      {"norm 2", [=, this](int64_t l) { norm(out_.as<__half>(), block(l).post_attention_norm, m); }, true, none},
      {"gate up", [=, this](int64_t l) { gate_and_up(block(l).gate_up, m); }, true,
       [=](int64_t l) { return block(l).gate_up.bytes(); }}};
  if (!block(0).gate_up.gates(m)) all.push_back({"silu mul", [=, this](int64_t) { activate(m); }, true, none});
  for (const Stage& last : {of("down", &DeviceBlock::down, activated_, out_), head, picked}) all.push_back(last);
  return all;
}

void BlockRunner::run_head(int64_t m, const int32_t* picked) {
  DenseArgs head{.m = m,
                 .n = config_.vocab,
                 .k = config_.hidden,
                 .x = normed_.as<__half>(),
                 .w = model_.head->as<__half>(),
                 .y = logits_.as(),
                 .wide = true,
                 .ticket = head_ticket_.as<int32_t>()};
  const bool one = unadded_ == nullptr, streams = takes_stream(head, on_);  // one token: all its sums are in hidden
  best_made_ = streams && on_.sms <= kPickBlocks;
  if (best_made_) head.best = best_.as<uint64_t>();
  if (one && streams)
    head.unnormed = {hidden_.as<float>(), model_.final_norm.as<float>(), static_cast<float>(config_.norm_eps)};
  else
    norm(unadded_, model_.final_norm, m, picked);
  failure_as_error([&] { launched(multiply_dense(head, workspace_.as(), on_), "launching lm_head"); });
}

void BlockRunner::pick(int64_t m, int32_t* ids) {
  launched(launch_pick({.logits = logits(),
                        .ids = ids,
                        .best = best_.as<uint64_t>(),
                        .tickets = pick_tickets_.as<int32_t>(),
                        .m = m,
                        .vocab = config_.vocab,
                        .made = best_made_},
                       on_),
           "launching the choice of a token");
}

void BlockRunner::draw(int64_t m, const DrawNumbers* draws, int32_t* ids) {
  for (int64_t first = 0; first < m; first += kMostDrawn)
    launched(launch_draw({.logits = logits() + first * config_.vocab,
                          .best = best_.as<uint64_t>() + first * kPickBlocks,
                          .draws = draws + first,
                          .ids = ids + first,
                          .rows = draw_rows_.as<DrawRow>(),
                          .m = std::min(kMostDrawn, m - first),
                          .vocab = config_.vocab},
                         on_),
             "launching the drawing of a token");
}

}  // namespace awq::backend::cuda
