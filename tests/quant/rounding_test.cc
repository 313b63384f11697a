#include "format/rounding.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace awq::format {
namespace {

constexpr float kNoLimit = std::numeric_limits<float>::infinity();

// float64, straight from the formulas in the header; shares no code with it.
std::vector<double> reference(const std::vector<float>& w, const Grid& grid, double limit) {
  double low = 0, high = 0;
  const double codes = (1 << grid.bits) - 1, half = 1 << (grid.bits - 1);
  const auto clamped = [&](double x) { return std::fmin(std::fmax(x, -limit), limit); };
  for (float x : w) low = std::fmin(low, clamped(x)), high = std::fmax(high, clamped(x));
  const double range = grid.zero_point ? (high - low) / codes : std::fmax(high, -low) / (half - 1);
  const double floor = 1e-5 / (grid.zero_point ? codes : half - 1);
  const double scale = round_to_f16(static_cast<float>(std::fmax(range, floor)));
  const double zero = grid.zero_point ? std::fmin(std::fmax(std::nearbyint(-low / scale), 0), codes) : half;
  std::vector<double> out;
  for (float x : w) {
    const double q = std::fmin(std::fmax(std::nearbyint(clamped(x) / scale) + zero, 0), codes);
    out.push_back((q - zero) * scale);
  }
  return out;
}

// The worked groups of the algorithm's description, and what zero inside the range makes of one-sided ones.
TEST(Rounding, OneSidedAndConstantGroupsSurvive) {
  const Grid grid{4, 4, true};
  for (const std::vector<float>& w :
       {std::vector<float>{1, 1.25f, 1.6f, 2}, {-0.9f, -0.5f, -0.3f, -0.31f}, {0.5f, 0.5f, 0.5f, 0.5f}}) {
    std::vector<float> out(4);
    round_group(w.data(), 4, grid, kNoLimit, out.data());
    for (int i = 0; i < 4; ++i)
      EXPECT_NEAR(out[i], w[i], 2.0 / 15 / 2 + 1e-3) << w[0];  // half a step of the widest group
  }
}

TEST(Rounding, WorkedGroup) {
  const float w[4] = {-0.8f, -0.1f, 0.32f, 1.2f};
  const GroupScale g = fit_group(w, 4, {4, 4, true}, kNoLimit);
  EXPECT_EQ(g.zero, 6);
  EXPECT_EQ(g.scale, round_to_f16(2.f / 15));
  QuantizedLinear q;
  q.n = 1, q.k = 4, q.group = 4;
  q.q.resize(4), q.scales.resize(1), q.zeros.resize(1);
  quantize_rows({w, 1, 4}, 0, 1, {}, {4, 4, true}, q);
  EXPECT_EQ(q.q, (std::vector<uint8_t>{0, 5, 8, 15}));
  const GroupScale s = fit_group(w, 4, {4, 4, false}, kNoLimit);
  EXPECT_EQ(s.zero, 8);
  EXPECT_EQ(s.scale, round_to_f16(1.2f / 7));
}

TEST(Rounding, AgreesWithFloat64) {
  std::mt19937 rng(1);
  std::normal_distribution<float> normal(0, 0.05f);
  int off_by_rounding = 0, total = 0;
  for (const bool zero_point : {true, false})
    for (const int group : {32, 64, 128, 40})
      for (const float limit : {kNoLimit, 0.06f})
        for (int round = 0; round < 50; ++round) {
          std::vector<float> w(group), out(group);
          for (float& x : w) x = normal(rng);
          const Grid grid{4, group, zero_point};
          round_group(w.data(), group, grid, limit, out.data());
          const std::vector<double> want = reference(w, grid, limit);
          const double step = fit_group(w.data(), group, grid, limit).scale;
          for (int i = 0; i < group; ++i, ++total) {
            ASSERT_LE(std::fabs(out[i] - want[i]), step * 1.0001);  // a tie may fall the other way in float32 ...
            off_by_rounding += std::fabs(out[i] - want[i]) > 1e-6;
          }
        }
  EXPECT_LE(off_by_rounding, total / 5000);  // ... but only a tie
}

TEST(Rounding, CodesDequantizeToTheRoundedWeights) {
  std::mt19937 rng(2);
  std::normal_distribution<float> normal;
  std::vector<float> w(6 * 128), out(w.size()), limits(6 * 2, 1.5f);
  for (float& x : w) x = normal(rng);
  const Grid grid{4, 64, true};
  QuantizedLinear q;
  q.n = 6, q.k = 128, q.group = 64;
  q.q.resize(w.size()), q.scales.resize(12), q.zeros.resize(12);
  quantize_rows({w.data(), 6, 128}, 0, 6, limits, grid, q);
  for (int r = 0; r < 6; ++r) {
    round_row(w.data() + r * 128, 128, grid, std::span(limits).subspan(r * 2, 2), out.data() + r * 128);
    for (int c = 0; c < 128; ++c) EXPECT_EQ(out[r * 128 + c], q.dequantized(r, c));
  }
}

TEST(Rounding, DegenerateGroupsGiveFiniteScales) {
  const std::vector<float> zeros(32), tiny(32, 1e-8f), huge(32, 1e6f);
  std::vector<float> out(32);
  for (const bool zero_point : {true, false}) {
    const Grid grid{4, 32, zero_point};
    round_group(zeros.data(), 32, grid, kNoLimit, out.data());
    for (float x : out) EXPECT_EQ(x, 0);
    round_group(tiny.data(), 32, grid, kNoLimit, out.data());
    for (float x : out) EXPECT_EQ(x, 0);
    EXPECT_TRUE(std::isinf(fit_group(huge.data(), 32, grid, kNoLimit).scale) || huge[0] / 15 < 65504);
  }
}

}  // namespace
}  // namespace awq::format
