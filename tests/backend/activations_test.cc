#include "backend/cpu/activations.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace awq::backend::cpu {
namespace {

// v * 2^e of token t, feature k, read back from the panels.
double unpacked(const TokenPanels& p, const BlockShape& shape, int64_t t, int64_t k) {
  const int64_t panel = t / kPanelM * kPanelM, lane = t - panel, width = std::min<int64_t>(kPanelM, p.m - panel);
  const int64_t within = k % shape.group, block = k / shape.group * shape.blocks_per_group + within / shape.block;
  const int64_t i = within % shape.block;
  const int32_t pair = p.pairs[(block * p.m + panel) * shape.block / 2 + i / 2 * width + lane];
  const int16_t v = static_cast<int16_t>(i % 2 ? pair >> 16 : pair);
  return double{p.scales[block * p.m + t]} * v;
}

TEST(Activations, KeepEveryNumberWithinTheBound) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  ThreadPool pool(2);
  PackedActivations packed;
  for (const auto& [m, k, group] : {std::array<int64_t, 3>{1, 256, 128}, {9, 200, 200}, {23, 4096, 64}, {8, 36, 36}}) {
    std::vector<float> x(m * k);
    for (float& v : x) v = normal(random) * std::ldexp(1.f, static_cast<int>(random() % 20) - 10);
    const BlockShape shape = block_shape(k, group);
    const TokenPanels panels = packed.pack(pool, {x.data(), m, k}, shape, {});
    for (int64_t t = 0; t < m; ++t)
      for (int64_t i = 0; i < k; ++i) {
        const int64_t begin = i / group * group + i % group / shape.block * shape.block;
        const int64_t end = std::min(begin + shape.block, (i / group + 1) * group);
        float largest = 0;
        for (int64_t j = begin; j < end; ++j) largest = std::max(largest, std::abs(x[t * k + j]));
        ASSERT_LE(std::abs(unpacked(panels, shape, t, i) - x[t * k + i]), 0x1p-15 * largest) << t << ", " << i;
      }
  }
}

// v of token t, feature k, read back from the digits.
int16_t from_digits(const TokenPanels& p, const BlockShape& shape, int64_t t, int64_t k) {
  constexpr int64_t kPlace[8] = {0, 2, 4, 6, 1, 3, 5, 7};  // of a feature among its eight
  const int64_t within = k % shape.group, block = k / shape.group * shape.blocks_per_group + within / shape.block;
  const int64_t feature = within % shape.block, place = feature / 8 * 8 + kPlace[feature % 8];
  const int64_t first = block * p.m + t / kDigitM * kDigitM;
  const uint8_t* high = p.digits + first * shape.block * 2 + place / p.digit_step * 2 * kDigitM * p.digit_step +
                        t % kDigitM * p.digit_step + place % p.digit_step;
  return static_cast<int16_t>(static_cast<int8_t>(high[0]) * 256 + high[kDigitM * p.digit_step]);
}

TEST(Activations, DigitsAreThoseOfThePairs) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  ThreadPool pool(2);
  PackedActivations packed, reference;
  for (const auto& [m, k, group] : {std::array<int64_t, 3>{1, 256, 128}, {17, 200, 200}, {33, 96, 32}, {8, 36, 36}}) {
    std::vector<float> x(m * k);
    for (float& v : x) v = normal(random);
    const BlockShape shape = block_shape(k, group);
    const std::array<int32_t, 2> salient = {3, 7};
    const TokenPanels digits = packed.pack(pool, {x.data(), m, k}, shape, salient, TokenLayout::kDigits);
    const TokenPanels pairs = reference.pack(pool, {x.data(), m, k}, shape, salient);
    ASSERT_LE(digits.digit_step, kDigitK);
    for (int64_t t = 0; t < m; ++t) {
      for (int64_t i = 0; i < 2; ++i) ASSERT_EQ(digits.salient[i * digits.m + t], x[t * k + salient[i]]) << t;
      for (int64_t i = 0; i < k; ++i) {
        const int64_t block = i / group * shape.blocks_per_group + i % group / shape.block;
        const double scale = digits.scales[block * digits.m + t];
        ASSERT_EQ(scale * from_digits(digits, shape, t, i), unpacked(pairs, shape, t, i)) << t << ", " << i;
      }
    }
  }
}

TEST(Activations, AreExactForSmallIntegersAndExtremes) {
  ThreadPool pool(1);
  PackedActivations packed;
  const BlockShape shape = block_shape(8, 8);
  for (const float unit : {1.f, 0x1p-126f, 0x1p112f}) {
    const std::vector<float> x = {0, unit, -unit, 2 * unit, 100 * unit, -32767 * unit, 3 * unit, -5 * unit};
    const TokenPanels panels = packed.pack(pool, {x.data(), 1, 8}, shape, {});
    for (int64_t i = 0; i < 8; ++i) EXPECT_EQ(unpacked(panels, shape, 0, i), x[i]) << unit << " at " << i;
  }
}

TEST(Activations, RoundUpToTheNextExponentRatherThanOverflow) {
  ThreadPool pool(1);
  PackedActivations packed;
  const std::vector<float> x = {65535.f, -65535.f, 1, 2, 3, 4, 5, 6};  // 65535 / 2 rounds to 32768: needs exponent 2
  const BlockShape shape = block_shape(8, 8);
  const TokenPanels panels = packed.pack(pool, {x.data(), 1, 8}, shape, {});
  EXPECT_EQ(panels.scales[0], 4.f);
  EXPECT_EQ(unpacked(panels, shape, 0, 0), 65536.0);
  EXPECT_EQ(unpacked(panels, shape, 0, 1), -65536.0);
}

TEST(Activations, ZeroBlocksAndNotANumber) {
  ThreadPool pool(1);
  PackedActivations packed;
  std::vector<float> x(64, 0.f);
  x[40] = std::nanf("");
  const TokenPanels panels = packed.pack(pool, {x.data(), 1, 64}, block_shape(64, 32), {});
  EXPECT_TRUE(std::isfinite(panels.scales[0]));
  EXPECT_EQ(panels.sums[0], 0);
  EXPECT_TRUE(std::isnan(panels.scales[1]));
}

}  // namespace
}  // namespace awq::backend::cpu
