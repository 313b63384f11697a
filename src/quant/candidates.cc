#include "quant/candidates.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace awq::quant {
namespace {

constexpr int kSteps = 20;
constexpr float kFloor = 1e-4f;

void normalise(std::vector<float>& s, std::span<const float> x_mean) {
  float low = INFINITY, high = 0;
  for (size_t k = 0; k < s.size(); ++k) {
    if (x_mean[k] == 0) continue;
    low = std::min(low, s[k]);
    high = std::max(high, s[k]);
  }
  const float middle = std::sqrt(low) * std::sqrt(high);  // not sqrt(low * high): that product may overflow
  for (size_t k = 0; k < s.size(); ++k) {
    s[k] = x_mean[k] == 0 ? 1 : s[k] / middle;
    if (!std::isfinite(s[k]) || s[k] == 0) s[k] = 1;
  }
}

}  // namespace

std::vector<float> mean_abs(std::span<const double> abs_sum, int64_t tokens) {
  std::vector<float> mean(abs_sum.size());
  for (size_t k = 0; k < mean.size(); ++k) mean[k] = static_cast<float>(abs_sum[k] / std::max<double>(1, tokens));
  return mean;
}

std::vector<Candidate> make_candidates(Search search, std::span<const float> x_mean, std::span<const float> w_mean) {
  std::vector<Candidate> list = {{"identity", std::vector<float>(x_mean.size(), 1.f)}};
  const auto add = [&](const char* family, int step, auto&& scale_of) {
    const float r = static_cast<float>(step) / kSteps;
    Candidate c{fmt::format("{} {:.2f}", family, r), std::vector<float>(x_mean.size())};
    for (size_t k = 0; k < x_mean.size(); ++k) c.scale[k] = std::max(scale_of(k, r), kFloor);
    normalise(c.scale, x_mean);
    list.push_back(std::move(c));
  };
  if (search == Search::kPaper || search == Search::kBoth)
    for (int i = 1; i < kSteps; ++i) add("paper", i, [&](size_t k, float r) { return std::pow(x_mean[k], r); });
  if (search == Search::kDuo || search == Search::kBoth)
    for (int i = 0; i < kSteps; ++i)
      add("duo", i, [&](size_t k, float r) { return std::pow(x_mean[k], r) / (std::pow(w_mean[k], 1 - r) + 1e-4f); });
  return list;
}

std::vector<int32_t> largest_channels(std::span<const float> score, int64_t count) {
  std::vector<int32_t> order(score.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return score[a] > score[b]; });
  order.resize(std::clamp<int64_t>(count, 0, std::ssize(order)));
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace awq::quant
