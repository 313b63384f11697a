#include "run/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "awq/error.h"
#include "core/random.h"

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

// All tokens, or the top_k most likely in order.
void Sampler::collect(std::span<const float> logits, float largest) {
  candidates_.clear();
  for (int32_t id = 0; id < std::ssize(logits); ++id) {
    const double weight = logits[id] == largest ? 1 : std::exp((double{logits[id]} - largest) / options_.temperature);
    if (weight > 0) candidates_.push_back({logits[id], id, weight});  // leaves NaN out as well
  }
  const auto k = static_cast<size_t>(options_.top_k);
  if (k == 0 || k >= candidates_.size()) return;
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(k), candidates_.end(),
                    before);
  candidates_.resize(k);
}

// The fewest most likely tokens that together hold top_p of the probability; always one. Few are usually enough, so the
// order is established step by step (64, 256, 1,024 ...) rather than for the whole vocabulary.
void Sampler::keep_top_p() {
  double total = 0, held = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  size_t sorted = 0;
  for (size_t kept = 0; kept < candidates_.size();) {
    if (kept == sorted) {
      sorted = std::min(candidates_.size(), std::max<size_t>(64, 4 * sorted));
      const auto begin = candidates_.begin();
      std::partial_sort(begin + static_cast<std::ptrdiff_t>(kept), begin + static_cast<std::ptrdiff_t>(sorted),
                        candidates_.end(), before);
    }
    held += candidates_[kept++].weight;
    if (held >= options_.top_p * total) candidates_.resize(kept);
  }
}

int32_t Sampler::draw() {
  double total = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  double left = uniform() * total;
  ++drawn_;
  for (const Candidate& c : candidates_)
    if ((left -= c.weight) < 0) return c.id;
  return candidates_.back().id;  // rounding of the sums
}

int32_t Sampler::operator()(std::span<const float> logits) {
  const int32_t best = require_number(most_likely(logits));
  if (options_.temperature == 0) return best;
  collect(logits, logits[best]);
  if (options_.top_p < 1) keep_top_p();
  return draw();
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
