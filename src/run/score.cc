#include "run/score.h"

#include <algorithm>
#include <cmath>

#include "awq/error.h"
#include "run/sampler.h"

namespace awq::run {
namespace {

struct Moments {
  double mean = 0, stderr_of_mean = 0;
};

template <class Value>
Moments moments(std::span<const PositionScore> scores, const Value& value) {
  const auto n = static_cast<double>(scores.size());
  double sum = 0, squares = 0;
  for (const PositionScore& s : scores) sum += value(s);
  const double mean = sum / n;
  for (const PositionScore& s : scores) squares += (value(s) - mean) * (value(s) - mean);
  return {mean, n > 1 ? std::sqrt(squares / (n - 1) / n) : 0};
}

// The value that 99 % of positions do not exceed.
double percentile_99(std::span<const PositionScore> scores) {
  std::vector<double> kl;
  for (const PositionScore& s : scores) kl.push_back(s.kl);
  const auto at = kl.begin() + static_cast<std::ptrdiff_t>(std::ceil(0.99 * static_cast<double>(kl.size()))) - 1;
  std::nth_element(kl.begin(), at, kl.end());
  return *at;
}

}  // namespace

double log_sum_exp(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float v : logits) sum += std::exp(v - top);
  return top + std::log(sum);
}

PositionScore score_position(std::span<const float> logits, std::span<const float> reference, int32_t next) {
  const double total = log_sum_exp(logits);
  PositionScore score{.nll = total - logits[next]};
  if (reference.empty()) return score;
  const double reference_total = log_sum_exp(reference);
  for (size_t i = 0; i < logits.size(); ++i) {
    const double log_p = reference[i] - reference_total;
    score.kl += std::exp(log_p) * (log_p - (logits[i] - total));
  }
  score.reference_nll = reference_total - reference[next];
  score.agrees = most_likely(logits) == most_likely(reference);
  return score;
}

void summarize(std::span<const PositionScore> scores, bool compared, EvaluateReport& report) {
  const Moments nll = moments(scores, [](const PositionScore& s) { return s.nll; });
  if (!std::isfinite(nll.mean))
    throw Error(ErrorKind::kBadInput, "the model's logits are not finite: the checkpoint's weights are damaged");
  report.scored_tokens = scores.size();
  report.nll = nll.mean;
  report.nll_stderr = nll.stderr_of_mean;
  report.perplexity = std::exp(nll.mean);
  report.compared = compared;
  if (!compared) return;
  const Moments kl = moments(scores, [](const PositionScore& s) { return s.kl; });
  report.kl = kl.mean;
  report.kl_stderr = kl.stderr_of_mean;
  report.kl_p99 = percentile_99(scores);
  report.reference_perplexity = std::exp(moments(scores, [](const PositionScore& s) { return s.reference_nll; }).mean);
  report.top1_agreement = moments(scores, [](const PositionScore& s) { return s.agrees ? 1.0 : 0.0; }).mean;
}

}  // namespace awq::run
