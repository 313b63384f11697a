#include "bench/together.h"

#include <algorithm>

namespace awq::bench {
namespace {

// Tokens that any vocabulary has, spread over it and different in every sequence: what they say does not matter.
std::vector<int32_t> prompt_of(int64_t length, int64_t vocab, int64_t sequence) {
  std::vector<int32_t> ids(static_cast<size_t>(length));
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] =
        static_cast<int32_t>((i * 7919 + 13 + static_cast<size_t>(sequence) * 104729) % static_cast<size_t>(vocab));
  return ids;
}

}  // namespace

Together::Together(backend::Executor& executor, int64_t batch)
    : executor_(&executor), draws_(static_cast<size_t>(batch)), ids_(static_cast<size_t>(batch)) {}

void Together::start(int64_t prompt, int generate) {
  slots_.clear();
  prompts_.clear();
  for (size_t s = 0; s < ids_.size(); ++s) {
    slots_.push_back(static_cast<int>(s));
    executor_->reset(slots_.back());
    prompts_.push_back(prompt_of(prompt, executor_->config().vocab, static_cast<int64_t>(s)));
  }
  executor_->reserve(slots_, prompt + generate);
}

void Together::read_prompts() {
  inputs_.clear();
  for (size_t s = 0; s < ids_.size(); ++s) inputs_.push_back({.slot = slots_[s], .tokens = prompts_[s]});
  advance();
}

void Together::step() {
  last_ = ids_;
  inputs_.clear();
  for (size_t s = 0; s < ids_.size(); ++s) inputs_.push_back({.slot = slots_[s], .tokens = {&last_[s], 1}});
  advance();
}

void Together::advance() {
  if (executor_->next_tokens(inputs_, draws_, ids_)) return;
  const int64_t vocab = executor_->config().vocab, rows = std::ssize(ids_);
  logits_.resize(static_cast<size_t>(rows * vocab));
  executor_->forward(inputs_, {logits_.data(), rows, vocab});
  for (int64_t r = 0; r < rows; ++r)
    ids_[static_cast<size_t>(r)] = static_cast<int32_t>(
        std::max_element(logits_.begin() + r * vocab, logits_.begin() + (r + 1) * vocab) - logits_.begin() - r * vocab);
}

}  // namespace awq::bench
