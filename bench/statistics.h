// What is computed from timings, without a device at hand.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace awq::bench {

double percentile(std::span<const double> ascending, double p);

// 0 of nothing.
double geometric_mean(std::span<const double> positive);

struct CurvePoint {
  double m = 0, us = 0;
};
using Curve = std::vector<CurvePoint>;  // ascending in m

// Tokens from which `many` stays the quicker one, between two measured points by straight lines on logarithmic axes.
// None where it never is; the first common point where it always is.
std::optional<double> crossover(const Curve& few, const Curve& many);

}  // namespace awq::bench
