#include "backend/cpu/row_ops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace awq::backend::cpu {
namespace {

std::vector<float> random_row(int64_t n, uint32_t seed, float spread) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> x(n);
  for (float& v : x) v = normal(rng);
  return x;
}

bool runs_here(const RowOps& ops) {
  const RowOps& best = row_ops();
  return (ops.features & ~best.features) == 0;
}

class EveryBuild : public testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(RaggedSizes, EveryBuild, testing::Values(1, 2, 15, 16, 17, 33, 64, 127, 512));

TEST_P(EveryBuild, ReturnsTheSameBits) {
  const int64_t n = GetParam();
  const auto a = random_row(n, 1, 3), b = random_row(n, 2, 1);
  std::vector<std::vector<float>> first;
  for (const RowOps& ops : row_ops_table()) {
    if (!runs_here(ops)) continue;
    std::vector<std::vector<float>> all(6, a);
    ops.rms_norm(a.data(), b.data(), 1e-5f, all[0].data(), n);
    ops.softmax(all[1].data(), 0.3f, n);
    ops.silu_mul(all[2].data(), b.data(), n);
    ops.add(all[3].data(), b.data(), n);
    const std::vector<float> weights = random_row(7, 9, 1), rows = random_row(7 * (n + 3), 8, 1);
    ops.add_weighted_rows(weights.data(), rows.data(), n + 3, 7, all[4].data(), n);
    all[5].resize(7);
    ops.dot_rows(b.data(), rows.data(), n + 3, 7, all[5].data(), n);
    if (first.empty()) first = all;
    for (size_t i = 0; i < all.size(); ++i)
      EXPECT_EQ(0, std::memcmp(all[i].data(), first[i].data(), all[i].size() * 4)) << ops.name << " operation " << i;
  }
}

// Bounds: u = 2^-24. The exponential's argument is rounded once or twice (|x| u <= 30 u absolute, hence relative in
// e^x), its polynomial and scaling add 8 u; sums of n terms in 16 lanes add (n / 16 + 4) u.
TEST_P(EveryBuild, SoftmaxAndSiluStayWithinTheirRounding) {
  const int64_t n = GetParam();
  const double u = 0x1p-24, bound = (3 * 30 + 8 + n / 16.0 + 6) * u;
  const auto x = random_row(n, 3, 4), up = random_row(n, 4, 1);
  const double top = *std::max_element(x.begin(), x.end());
  double total = 0;
  for (const float v : x) total += std::exp(v - top);
  for (const RowOps& ops : row_ops_table()) {
    if (!runs_here(ops)) continue;
    std::vector<float> soft = x, gate = x;
    ops.softmax(soft.data(), 1.f, n);
    ops.silu_mul(gate.data(), up.data(), n);
    for (int64_t i = 0; i < n; ++i) {
      const double p = std::exp(x[i] - top) / total, s = x[i] / (1 + std::exp(-double{x[i]})) * up[i];
      EXPECT_NEAR(soft[i], p, bound * p + 1e-37) << ops.name;
      EXPECT_NEAR(gate[i], s, bound * std::abs(s) + 1e-37) << ops.name;
    }
  }
}

TEST(RowOps, ExtremeArgumentsStayFiniteAndNanStaysNan) {
  for (const RowOps& ops : row_ops_table()) {
    if (!runs_here(ops)) continue;
    std::vector<float> x = {-1e30f, 0, 1e30f}, gate = {-1e30f, -200, 200, NAN}, up = {1, 1, 1, 1};
    ops.softmax(x.data(), 1, 3);
    EXPECT_NEAR(x[0], 0, 1e-30);
    EXPECT_EQ(x[2], 1);
    ops.silu_mul(gate.data(), up.data(), 4);
    EXPECT_NEAR(gate[1], 0, 1e-30);
    EXPECT_EQ(gate[2], 200);
    EXPECT_TRUE(std::isnan(gate[3]));
  }
}

TEST(RowOps, AttentionSumsAreExactOnSmallIntegers) {
  for (const RowOps& ops : row_ops_table()) {
    if (!runs_here(ops)) continue;
    for (const int64_t n : {1, 16, 63, 64, 65, 130}) {
      std::vector<float> x(n), rows(3 * n), out(n, 1.f), scores(3);
      for (int64_t i = 0; i < n; ++i) x[i] = static_cast<float>(i % 5 - 2);
      for (int64_t i = 0; i < 3 * n; ++i) rows[i] = static_cast<float>(i % 7 - 3);
      const std::vector<float> weights = {1, -2, 4};
      ops.dot_rows(x.data(), rows.data(), n, 3, scores.data(), n);
      ops.add_weighted_rows(weights.data(), rows.data(), n, 3, out.data(), n);
      for (int64_t j = 0; j < 3; ++j) {
        float want = 0;
        for (int64_t i = 0; i < n; ++i) want += x[i] * rows[j * n + i];
        EXPECT_EQ(scores[j], want) << ops.name << " n " << n;
      }
      for (int64_t i = 0; i < n; ++i)
        EXPECT_EQ(out[i], 1 + rows[i] - 2 * rows[n + i] + 4 * rows[2 * n + i]) << ops.name;
    }
  }
}

TEST(RowOps, RotationKeepsLengthsAndTurnsByTheAngle) {
  std::vector<float> x = {1, 0, 0, 2}, cos = {0, 1}, sin = {1, 0};  // pair 0 by 90 degrees, pair 1 by none
  row_ops().rotate(x.data(), cos.data(), sin.data(), 2);
  EXPECT_EQ(x, (std::vector<float>{0, 0, 1, 2}));
}

}  // namespace
}  // namespace awq::backend::cpu
