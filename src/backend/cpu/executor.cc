#include "backend/cpu/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/checked.h"

namespace awq::backend::cpu {
namespace {

// Rows in flight: as many as 64 MB of intermediate results hold (313 of Llama-3-8B, 2,048 of a 512-wide model), so that
// a long prompt costs bounded memory and weights are still used many times each.
constexpr uint64_t kBufferBytes = 64u << 20;
constexpr int64_t kLeastRows = 64, kMostRows = 2048;

}  // namespace

CpuExecutor::CpuExecutor(const io::Checkpoint& checkpoint, const model::ModelConfig& config,
                         const ExecutorOptions& options)
    : config_(config),
      capacity_(options.capacity > 0 ? options.capacity : config.max_positions),
      pool_(options.threads),
      weights_(load_weights(checkpoint, config, options, pool_)),
      caches_(std::max(1, options.slots), KvCache(config.layers, config.kv_heads * config.head_dim)),
      rope_(config.rope, config.head_dim),
      max_rows_(std::min(kMostRows, BlockBuffers::rows_within(config, kBufferBytes, kLeastRows))) {
  for (const BlockWeights& w : weights_.blocks) blocks_.push_back(w.view());
}

KvCache& CpuExecutor::cache(int slot) {
  AWQ_ASSERT(slot >= 0 && slot < std::ssize(caches_));
  return caches_[slot];
}

int64_t CpuExecutor::length(int slot) const { return const_cast<CpuExecutor*>(this)->cache(slot).length(); }

void CpuExecutor::ensure_rows(int64_t rows) {
  if (rows <= rows_) return;
  buffers_.reset();  // before the larger one is allocated
  buffers_ = std::make_unique<BlockBuffers>(config_, rows);
  hidden_ = std::make_unique_for_overwrite<float[]>(checked_mul(rows, config_.hidden, "the hidden states"));
  rows_ = rows;
}

void CpuExecutor::forward(std::span<const SequenceInput> inputs, MatrixView<float> logits) {
  check_inputs(*this, inputs, capacity_, logits.rows);
  AWQ_ASSERT(logits.cols == config_.vocab);
  int64_t total = 0, done = 0, filled = 0;
  for (const SequenceInput& in : inputs) total += std::ssize(in.tokens);
  ensure_rows(std::min(total, max_rows_));
  segments_.clear();
  for (const SequenceInput& in : inputs)
    for (size_t at = 0; at < in.tokens.size();) {
      const auto take = std::min<size_t>(in.tokens.size() - at, max_rows_ - filled);
      segments_.push_back({in.slot, in.tokens.subspan(at, take), filled, in.all_logits, at + take == in.tokens.size()});
      at += take;
      filled += static_cast<int64_t>(take);
      if (filled < max_rows_) continue;
      done = run_chunk(logits, done);
      filled = 0;
    }
  if (filled > 0) run_chunk(logits, done);
}

// Runs the segments collected and forgets them; returns how many rows of logits are done.
int64_t CpuExecutor::run_chunk(MatrixView<float> logits, int64_t done) {
  place_tokens();
  const MatrixView<float> hidden(hidden_.get(), std::ssize(positions_), config_.hidden);
  for (int64_t layer = 0; layer < config_.layers; ++layer) run_block(layer, hidden);
  for (const Segment& s : segments_) caches_[s.slot].advance(std::ssize(s.tokens));
  done = write_logits(hidden, logits, done);
  segments_.clear();
  return done;
}

void CpuExecutor::place_tokens() {
  positions_.clear();
  for (const Segment& s : segments_) {
    const int64_t first = caches_[s.slot].length();
    rope_.extend(first + std::ssize(s.tokens));
    for (const int32_t id : s.tokens) {
      weights_.embedding->widen(id, 1, hidden_.get() + std::ssize(positions_) * config_.hidden);
      positions_.push_back(first + (std::ssize(positions_) - s.row));
    }
  }
}

void CpuExecutor::attend(int64_t layer, int64_t rows) {
  const auto q = buffers_->q(rows), k = buffers_->k(rows), v = buffers_->v(rows);
  jobs_.clear();
  for (const Segment& s : segments_) {
    KvCache& cache = caches_[s.slot];
    const int64_t count = std::ssize(s.tokens);
    cache.append(layer, k.rows_from(s.row, count), v.rows_from(s.row, count));
    const auto part = q.rows_from(s.row, count);
    jobs_.push_back({part, cache.keys(layer), cache.values(layer), part, cache.length()});
  }
  attention(pool_, attention_shape(config_, layer), jobs_);
}

void CpuExecutor::run_block(int64_t layer, MatrixView<float> hidden) {
  const DecoderBlock& block = blocks_[layer];
  const int64_t rows = hidden.rows;
  const auto normed = buffers_->normed(rows), out = buffers_->out(rows);
  rms_norm_rows(pool_, hidden, block.input_norm, config_.norm_eps, normed);
  project_qkv(pool_, config_, block, rope_, positions_, normed, *buffers_);
  attend(layer, rows);
  block.o->forward(pool_, buffers_->q(rows), out);
  add_rows(pool_, hidden, out);
  rms_norm_rows(pool_, hidden, block.post_attention_norm, config_.norm_eps, normed);
  gated_activation(pool_, block, normed, *buffers_);
  block.down->forward(pool_, buffers_->gate(rows), out);
  add_rows(pool_, hidden, out);
}

int64_t CpuExecutor::write_logits(MatrixView<float> hidden, MatrixView<float> logits, int64_t done) {
  const auto picked = buffers_->out(hidden.rows), normed = buffers_->normed(hidden.rows);
  int64_t rows = 0;
  for (const Segment& s : segments_) {
    const int64_t last = std::ssize(s.tokens);
    for (int64_t i = s.all_logits ? 0 : (s.ends_input ? last - 1 : last); i < last; ++i)
      std::copy_n(hidden.row(s.row + i), hidden.cols, picked.row(rows++));
  }
  if (rows == 0) return done;
  rms_norm_rows(pool_, picked.rows_from(0, rows), weights_.final_norm, config_.norm_eps, normed.rows_from(0, rows));
  weights_.head->forward(pool_, normed.rows_from(0, rows), logits.rows_from(done, rows));
  return done + rows;
}

// "dot_bfloat16_avx512 at m = 1, onednn_sgemm_bfloat16 at m = 512": the rows of all linears, each named once.
std::string CpuExecutor::kernels() const {
  std::string line;
  for (const int64_t m : {int64_t{1}, int64_t{512}}) {
    std::set<std::string> names = {weights_.head->kernel_for(m)};
    for (const BlockWeights& b : weights_.blocks)
      for (const auto& linear : b.linears) names.insert(linear->kernel_for(m));
    for (const std::string& name : names)
      line += fmt::format("{}{}", line.empty() || line.back() == ' ' ? "" : " + ", name);
    line += fmt::format(" at m = {}{}", m, m == 1 ? ", " : "");
  }
  return line;
}

}  // namespace awq::backend::cpu
