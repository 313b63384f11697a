#include "run/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "awq/error.h"
#include "core/random.h"
#include "core/token_weight.h"

namespace awq::run {
namespace {

void check(bool holds, const char* name, double value, const char* range) {
  if (!holds) throw Error(ErrorKind::kUsage, fmt::format("{} is {}; it must be {}", name, value, range));
}

// A token, or -1 when no logit was a number.
int32_t require_number(int32_t id) {
  if (id < 0) throw Error(ErrorKind::kBadInput, "every logit is NaN: the checkpoint's weights are damaged");
  return id;
}

}  // namespace

int32_t most_likely(std::span<const float> logits) {
  int32_t best = -1;
  for (int32_t id = 0; id < std::ssize(logits); ++id)
    if (!std::isnan(logits[id]) && (best < 0 || logits[id] > logits[best])) best = id;
  return best;
}

Sampler::Sampler(const SamplingOptions& options, int64_t vocab) : options_(options) {
  check(options.temperature >= 0 && std::isfinite(options.temperature), "temperature", options.temperature,
        "0 or more");
  check(options.top_k >= 0, "top_k", options.top_k, "0 (off) or more");
  check(options.top_p >= 0 && options.top_p <= 1, "top_p", options.top_p, "from 0 to 1");
  if (options.temperature > 0) candidates_.reserve(vocab);
}

bool Sampler::before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;  // total, so that every library sorts alike
}

double Sampler::uniform() const { return static_cast<double>(mix64(mix64(options_.seed) ^ drawn_) >> 11) * 0x1p-53; }

// The most likely `count` in their order; those before `sorted` are already.
void Sampler::sort_first(size_t count, size_t sorted) {
  const auto at = [&](size_t i) { return candidates_.begin() + static_cast<std::ptrdiff_t>(i); };
  std::partial_sort(at(sorted), at(count), candidates_.end(), before);
}

// All tokens that can be drawn, or the top_k most likely in order.
void Sampler::collect(std::span<const float> logits, float largest, const DrawNumbers& draw) {
  candidates_.clear();
  for (int32_t id = 0; id < std::ssize(logits); ++id)
    if (const uint64_t weight = token_weight(largest, logits[id], draw.scale); weight > 0)
      candidates_.push_back({logits[id], id, weight});
  if (draw.top_k == 0) return;
  const size_t k = std::min(candidates_.size(), static_cast<size_t>(draw.top_k));
  sort_first(k, 0);
  candidates_.resize(k);
}

uint64_t Sampler::total() const {
  uint64_t sum = 0;
  for (const Candidate& c : candidates_) sum += c.weight;
  return sum;
}

// The fewest most likely tokens that together hold top_p of the weight; always one. Few are usually enough, so the
// order is established step by step (64, 256, 1,024 ...) rather than for the whole vocabulary.
void Sampler::keep_top_p(const DrawNumbers& draw) {
  const uint64_t needed = draw.to_hold(total());
  uint64_t held = 0;
  size_t sorted = 0;
  for (size_t kept = 0; kept < candidates_.size();) {
    if (kept == sorted) {
      sorted = std::min(candidates_.size(), std::max<size_t>(64, 4 * sorted));
      sort_first(sorted, kept);
    }
    held += candidates_[kept++].weight;
    if (held >= needed) candidates_.resize(kept);
  }
}

int32_t Sampler::operator()(std::span<const float> logits) {
  const int32_t best = require_number(most_likely(logits));
  if (options_.temperature == 0) return best;
  const DrawNumbers draw =
      draw_numbers(options_.temperature, options_.top_k, options_.top_p, uniform(), std::ssize(logits));
  ++drawn_;
  collect(logits, logits[best], draw);
  if (draw.top_p != DrawNumbers::kAll) keep_top_p(draw);
  const uint64_t point = mul_high(draw.uniform, total());
  uint64_t passed = 0;
  for (const Candidate& c : candidates_)
    if ((passed += c.weight) > point) return c.id;
  return best;  // not reached: point is below the total
}

backend::TokenDraw Sampler::next_draw() const {
  return {.temperature = options_.temperature,
          .top_k = options_.top_k,
          .top_p = options_.top_p,
          .uniform = options_.temperature > 0 ? uniform() : 0};
}

int32_t Sampler::accept(int32_t drawn) {
  if (options_.temperature > 0) ++drawn_;
  return require_number(drawn);
}

}  // namespace awq::run
