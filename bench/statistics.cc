#include "bench/statistics.h"

#include <algorithm>
#include <cmath>

namespace awq::bench {
namespace {

struct Gap {
  double log_m, log_ratio;  // of the times few / many: above 0 where `many` is quicker
};

std::vector<Gap> gaps(const Curve& few, const Curve& many) {
  std::vector<Gap> all;
  for (const CurvePoint& a : few)
    for (const CurvePoint& b : many)
      if (a.m == b.m) all.push_back({std::log(a.m), std::log(a.us / b.us)});
  return all;
}

}  // namespace

double percentile(std::span<const double> ascending, double p) {
  return ascending[static_cast<size_t>(p * static_cast<double>(ascending.size() - 1) + 0.5)];
}

double geometric_mean(std::span<const double> positive) {
  if (positive.empty()) return 0;
  double sum = 0;
  for (const double value : positive) sum += std::log(value);
  return std::exp(sum / static_cast<double>(positive.size()));
}

std::optional<double> crossover(const Curve& few, const Curve& many) {
  const std::vector<Gap> all = gaps(few, many);
  size_t first = all.size();  // of the run, up to the end, in which `many` is quicker
  while (first > 0 && all[first - 1].log_ratio > 0) --first;
  if (first == all.size()) return std::nullopt;
  if (first == 0) return std::exp(all[0].log_m);
  const Gap &below = all[first - 1], &above = all[first];
  const double share = -below.log_ratio / (above.log_ratio - below.log_ratio);
  return std::exp(below.log_m + share * (above.log_m - below.log_m));
}

}  // namespace awq::bench
