// The CPU's arithmetic of quantization against float64 sums over the tokens themselves.
#include "backend/cpu/scale_search.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "quant/candidates.h"

namespace awq::backend::cpu {
namespace {

struct Layer {
  int64_t n, k, tokens;
  std::vector<float> w, x;
  InputStats stats;
};

Layer random_layer(int64_t n, int64_t k, int64_t tokens, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  Layer l{n, k, tokens, std::vector<float>(n * k), std::vector<float>(tokens * k), {}};
  for (float& v : l.w) v = normal(rng) * 0.05f;
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t c = 0; c < k; ++c) l.x[t * k + c] = normal(rng) * (c % 17 == 3 ? 20.f : 1.f);  // outlier channels
  l.stats.k = k, l.stats.tokens = tokens;
  l.stats.abs_sum.resize(k), l.stats.gram.resize(k * k);
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t t = 0; t < tokens; ++t) l.stats.abs_sum[i] += std::fabs(l.x[t * k + i]);
    for (int64_t j = 0; j < k; ++j) {
      double sum = 0;
      for (int64_t t = 0; t < tokens; ++t) sum += static_cast<double>(l.x[t * k + i]) * l.x[t * k + j];
      l.stats.gram[i * k + j] = static_cast<float>(sum);
    }
  }
  return l;
}

// sum over tokens and outputs of (dw . x)^2, the definition the Gram form replaces
double brute_force(const Layer& l, const std::vector<float>& rounded, const std::vector<int32_t>& corrected) {
  double sum = 0;
  for (int64_t t = 0; t < l.tokens; ++t)
    for (int64_t r = 0; r < l.n; ++r) {
      double dot = 0;
      for (int64_t c = 0; c < l.k; ++c)
        if (std::find(corrected.begin(), corrected.end(), c) == corrected.end())
          dot += (static_cast<double>(rounded[r * l.k + c]) - l.w[r * l.k + c]) * l.x[t * l.k + c];
      sum += dot * dot;
    }
  return sum;
}

MatrixView<const float> view(const Layer& l) { return {l.w.data(), l.n, l.k}; }

TEST(ScaleSearch, GramLossEqualsTheSumOverTokens) {
  for (const auto [n, k, group] : {std::array<int64_t, 3>{5, 64, 32}, {130, 128, 64}, {129, 192, 64}, {40, 96, 96}}) {
    const Layer l = random_layer(n, k, 200, static_cast<unsigned>(n));
    const format::Grid grid{4, group, true};
    const MatrixView<const float> w = view(l);
    const auto x_mean = quant::mean_abs(l.stats.abs_sum, l.tokens);
    const auto candidates = quant::make_candidates(Search::kBoth, x_mean, weight_mean({&w, 1}, group));
    std::vector<std::vector<float>> scales;
    for (const auto& c : candidates) scales.push_back(c.scale);
    const std::vector<int32_t> corrected = {3, 20};
    ThreadPool pool(2);
    for (const auto& fixed : {std::vector<int32_t>{}, corrected}) {
      const std::vector<double> losses = scale_losses(pool, w, l.stats, scales, grid, fixed);
      ASSERT_EQ(losses.size(), scales.size());
      for (size_t c = 0; c < scales.size(); c += 7) {
        std::vector<float> rounded(l.w.size());
        for (int64_t r = 0; r < n; ++r) {
          for (int64_t i = 0; i < k; ++i) rounded[r * k + i] = l.w[r * k + i] * scales[c][i];
          format::round_row(rounded.data() + r * k, k, grid, {}, rounded.data() + r * k);
          for (int64_t i = 0; i < k; ++i) rounded[r * k + i] /= scales[c][i];
        }
        const double want = brute_force(l, rounded, fixed);
        EXPECT_NEAR(losses[c], want, 1e-4 * want) << candidates[c].name;  // float32 products of a float32 Gram matrix
      }
    }
  }
}

TEST(ScaleSearch, ClipLimitsAreTheBestOfTheTenSteps) {
  const int64_t group = 32;
  const Layer l = random_layer(9, 96, 150, 7);
  const format::Grid grid{4, group, true};
  ThreadPool pool(2);
  const std::vector<float> limits = clip_limits(pool, view(l), l.stats, grid, {});
  int clipped = 0;
  for (int64_t r = 0; r < l.n; ++r)
    for (int64_t g = 0; g < l.k / group; ++g) {
      const float* w = l.w.data() + r * l.k + g * group;
      float largest = 0;
      for (int64_t c = 0; c < group; ++c) largest = std::max(largest, std::fabs(w[c]));
      double best = INFINITY, at_limit = INFINITY;
      for (int step = 0; step < 10; ++step) {
        const float limit = largest * (1 - static_cast<float>(step) / 20);
        std::vector<float> rounded(group);
        format::round_group(w, group, grid, limit, rounded.data());
        double error = 0;
        for (int64_t t = 0; t < l.tokens; ++t) {
          double dot = 0;
          for (int64_t c = 0; c < group; ++c)
            dot += (static_cast<double>(rounded[c]) - w[c]) * l.x[t * l.k + g * group + c];
          error += dot * dot;
        }
        best = std::min(best, error);
        if (limit == limits[r * 3 + g]) at_limit = error;
      }
      EXPECT_LE(at_limit, best * (1 + 1e-4)) << r << " " << g;
      clipped += limits[r * 3 + g] < largest;
    }
  EXPECT_GT(clipped, 0);
}

TEST(ScaleSearch, ThreadsDoNotChangeABit) {
  const Layer l = random_layer(300, 256, 64, 11);
  const MatrixView<const float> w = view(l);
  const format::Grid grid{4, 128, true};
  const std::vector<std::vector<float>> scales(3, std::vector<float>(256, 1.25f));
  ThreadPool one(1), three(3);
  EXPECT_EQ(scale_losses(one, w, l.stats, scales, grid, {}), scale_losses(three, w, l.stats, scales, grid, {}));
  const std::vector<float> limits = clip_limits(one, w, l.stats, grid, {});
  EXPECT_EQ(limits, clip_limits(three, w, l.stats, grid, {}));
  EXPECT_EQ(clipped_loss(one, w, l.stats, limits, grid, {}), clipped_loss(three, w, l.stats, limits, grid, {}));
  EXPECT_EQ(quantize(one, w, limits, grid), quantize(three, w, limits, grid));
}

}  // namespace
}  // namespace awq::backend::cpu
