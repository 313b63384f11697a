// Perplexity and KL by the protocol of docs/guide.md: the first max_chars characters encoded without special tokens,
// cut into windows that do not overlap, each scored from itself alone at its positions 1 .. window-1.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <mutex>

#include "awq/error.h"
#include "core/thread_pool.h"
#include "run/model_impl.h"
#include "run/score.h"

namespace awq {
namespace {

// Logits held at a time, for each of the two models.
constexpr int64_t kLogitBytes = 64 << 20;
constexpr int64_t kMostRows = 2048;

std::string_view first_characters(std::string_view text, size_t count) {
  if (count == 0) return text;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool starts_character = (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
    if (starts_character && count-- == 0) return text.substr(0, i);
  }
  return text;
}

struct Windows {
  std::vector<int32_t> ids;  // (count, length): a BOS first where asked for
  int64_t count = 0, length = 0;
  int64_t first_scored = 1;  // the first position whose token is scored
  std::span<const int32_t> operator[](int64_t w) const { return std::span(ids).subspan(w * length, length); }
};

int32_t bos_of(const Model& model) {
  if (!model.impl().config.bos.empty()) return model.impl().config.bos.front();
  const std::vector<int32_t> ids = model.encode("", true);
  if (!ids.empty()) return ids.front();
  throw Error(ErrorKind::kBadInput, "this model has no BOS token; evaluate without one");
}

Windows cut(const Model& model, std::string_view text, const EvaluateOptions& options) {
  const std::vector<int32_t> ids = model.encode(first_characters(text, options.max_chars), false);
  Windows w;
  w.count = std::ssize(ids) / options.window;
  w.length = options.window + options.add_bos;
  w.first_scored = 1 + options.add_bos;
  if (options.max_windows > 0) w.count = std::min<int64_t>(w.count, options.max_windows);
  if (w.count == 0)
    throw Error(ErrorKind::kBadInput,
                fmt::format("the text has {} tokens, one window needs {}: give a longer text or a "
                            "smaller window",
                            ids.size(), options.window));
  for (int64_t i = 0; i < w.count; ++i) {
    if (options.add_bos) w.ids.push_back(bos_of(model));
    w.ids.insert(w.ids.end(), ids.begin() + i * options.window, ids.begin() + (i + 1) * options.window);
  }
  return w;
}

void check(const Model& model, const EvaluateOptions& options, const Model* reference) {
  const int64_t length = options.window + options.add_bos, positions = model.impl().config.max_positions;
  if (options.window < 2)
    throw Error(ErrorKind::kUsage, fmt::format("a window of {} tokens scores nothing; take 2 or more", options.window));
  if (length > positions)
    throw Error(ErrorKind::kUsage,
                fmt::format("a window of {} tokens exceeds the model's context of {}", length, positions));
  if (reference == &model) throw Error(ErrorKind::kUsage, "a model cannot be its own reference: load it twice");
  if (reference != nullptr && reference->vocab_size() != model.vocab_size())
    throw Error(ErrorKind::kBadInput,
                fmt::format("the models cannot be compared: their vocabularies have {} and {} tokens",
                            model.vocab_size(), reference->vocab_size()));
}

// Several windows go through the model together, `piece` tokens at a time, so that weights are used for many rows while
// the logits stay within kLogitBytes.
class Scorer {
 public:
  Scorer(const Model& model, const Model* reference, const Windows& windows)
      : model_(model),
        reference_(reference),
        windows_(windows),
        vocab_(model.vocab_size()),
        pool_(model.impl().options.threads) {
    const int64_t rows = std::clamp<int64_t>(kLogitBytes / 4 / vocab_, 1, kMostRows);
    together_ = std::clamp<int64_t>(rows / windows.length, 1, std::min<int64_t>(Model::Impl::kSlots, windows.count));
    piece_ = std::min(windows.length, std::max<int64_t>(1, rows / together_));
    logits_.resize(together_ * piece_ * vocab_);
    if (reference != nullptr) reference_logits_.resize(logits_.size());
  }
  int64_t together() const { return together_; }

  // Appends the scores of windows [first, first + count) in order of window, then position.
  void run(int64_t first, int64_t count, std::vector<run::PositionScore>& scores) {
    const int64_t scored = windows_.length - windows_.first_scored;
    const auto base = static_cast<int64_t>(scores.size());
    scores.resize(base + count * scored);
    for (int slot = 0; slot < count; ++slot) {
      model_.impl().executor->reset(slot);
      if (reference_ != nullptr) reference_->impl().executor->reset(slot);
    }
    for (int64_t at = 0; at < windows_.length; at += piece_) {
      const int64_t length = std::min(piece_, windows_.length - at);
      forward(model_, first, count, at, length, logits_);
      if (reference_ != nullptr) forward(*reference_, first, count, at, length, reference_logits_);
      pool_.parallel_for(count * length, [&](int64_t row) {
        const int64_t window = row / length, next = at + row % length + 1;
        if (next < windows_.first_scored || next >= windows_.length) return;
        scores[base + window * scored + next - windows_.first_scored] =
            run::score_position(row_of(logits_, row), row_of(reference_logits_, row), windows_[first + window][next]);
      });
    }
  }

 private:
  void forward(const Model& model, int64_t first, int64_t count, int64_t at, int64_t length,
               std::vector<float>& logits) {
    inputs_.clear();
    for (int slot = 0; slot < count; ++slot)
      inputs_.push_back({.slot = slot, .tokens = windows_[first + slot].subspan(at, length), .all_logits = true});
    model.impl().executor->forward(inputs_, {logits.data(), count * length, vocab_});
  }
  std::span<const float> row_of(const std::vector<float>& logits, int64_t row) const {
    if (logits.empty()) return {};
    return std::span(logits).subspan(row * vocab_, vocab_);
  }

  const Model& model_;
  const Model* reference_;
  const Windows& windows_;
  int64_t vocab_, together_ = 1, piece_ = 1;
  ThreadPool pool_;
  std::vector<float> logits_, reference_logits_;  // (together * piece, vocab)
  std::vector<backend::SequenceInput> inputs_;
};

}  // namespace

EvaluateReport evaluate(const Model& model, std::string_view text, const EvaluateOptions& options,
                        const Model* reference) {
  const auto start = std::chrono::steady_clock::now();
  check(model, options, reference);
  const Windows windows = cut(model, text, options);
  std::unique_lock<std::mutex> turn(model.impl().in_use, std::defer_lock), reference_turn;
  if (reference == nullptr) {
    turn.lock();
  } else {
    reference_turn = std::unique_lock<std::mutex>(reference->impl().in_use, std::defer_lock);
    std::lock(turn, reference_turn);  // in either order: another thread may compare the two the other way round
  }
  Scorer scorer(model, reference, windows);
  std::vector<run::PositionScore> scores;
  for (int64_t first = 0; first < windows.count; first += scorer.together()) {
    if (options.stop != nullptr && options.stop->load() != 0)
      throw Error(ErrorKind::kInterrupted, fmt::format("stopped after {} of {} windows", first, windows.count));
    const int64_t count = std::min(scorer.together(), windows.count - first);
    scorer.run(first, count, scores);
    if (options.progress) options.progress(static_cast<int>(first + count), static_cast<int>(windows.count));
  }
  EvaluateReport report;
  report.windows = static_cast<int>(windows.count);
  run::summarize(scores, reference != nullptr, report);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace awq
