#include "core/token_weight.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/random.h"

namespace awq {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr uint64_t kOne = uint64_t{1} << kWeightBits;

TEST(MulHigh, IsTheUpperHalfOfTheProduct) {
  EXPECT_EQ(mul_high(~uint64_t{0}, ~uint64_t{0}), ~uint64_t{0} - 1);
  EXPECT_EQ(mul_high(uint64_t{1} << 63, 7), 3u);
  for (uint64_t i = 0; i < 1000; ++i) {  // a * (b 2^32 + c), in two products of 96 bits
    const uint64_t a = mix64(i), b = mix64(i ^ 1234) >> 32, c = mix64(i ^ 77) >> 32;
    const uint64_t low = (a & 0xffffffffu) * c, high = (a >> 32) * c + (low >> 32);  // a * c = high 2^32 + ...
    const uint64_t low_b = (a & 0xffffffffu) * b, high_b = (a >> 32) * b + (low_b >> 32);
    const uint64_t carry = (uint64_t{static_cast<uint32_t>(high)} + static_cast<uint32_t>(low_b)) >> 32;
    // a (b 2^32 + c) / 2^64 = (high_b 2^32 + low_b) / 2^32 + high / 2^32, carried
    EXPECT_EQ(mul_high(a, b << 32 | c), high_b + (high >> 32) + carry);
  }
}

TEST(TokenWeight, IsTheExponentialWithinItsBound) {
  for (uint64_t i = 0; i < 200000; ++i) {
    const uint64_t halvings = mul_high(mix64(i), kWeightless);
    const double want = std::exp2(kWeightBits - static_cast<double>(halvings) * 0x1p-32);
    ASSERT_NEAR(static_cast<double>(weight_after(halvings)), want, 0x1p-28 * want + 1) << halvings;  // 1: rounded down
  }
}

TEST(TokenWeight, IsExactWhereItIsAPowerOfTwoAndGoneFromTheEndOn) {
  for (uint64_t n = 0; n < kWeightBits; ++n) {
    EXPECT_EQ(weight_after(n << 32), kOne >> n);
    if (n > 0) {
      EXPECT_GE(weight_after((n << 32) - 1), kOne >> n);  // none is 0 above one that is not
    }
  }
  EXPECT_EQ(weight_after(kWeightless), 0u);
}

TEST(TokenWeight, OfWhatIsNotANumber) {
  EXPECT_EQ(token_weight(kInf, kInf, 1e9), kOne);
  EXPECT_EQ(token_weight(-kInf, -kInf, 1e9), kOne);
  EXPECT_EQ(token_weight(kInf, 3e38f, 1e-20), 0u);
  EXPECT_EQ(token_weight(0, -kInf, 1e-20), 0u);
  EXPECT_EQ(token_weight(0, kNaN, 1e9), 0u);
  EXPECT_EQ(token_weight(0.f, -0.f, 1e300), kOne);
}

TEST(DrawNumbers, AreTheParameters) {
  const DrawNumbers half = draw_numbers(0.5f, 3, 0.25f, 0.75, 10);
  EXPECT_DOUBLE_EQ(half.scale, 2 * std::log2(std::exp(1.0)) * 0x1p32);
  EXPECT_EQ(half.top_k, 3);
  EXPECT_EQ(half.top_p, uint64_t{1} << 62);
  EXPECT_EQ(half.uniform, uint64_t{3} << 62);
  EXPECT_TRUE(half.from_the_top());
  EXPECT_EQ(half.to_hold(400), 100u);
  EXPECT_EQ(half.to_hold(1), 1u);
  EXPECT_EQ(draw_numbers(0, 3, 0.5f, 0.5, 10).scale, 0);
  EXPECT_FALSE(draw_numbers(1, 10, 1, 0.5, 10).from_the_top());  // as many as there are
  EXPECT_TRUE(draw_numbers(1, 0, std::nextafter(1.f, 0.f), 0.5, 10).from_the_top());
  for (const float temperature : {std::numeric_limits<float>::denorm_min(), std::numeric_limits<float>::max()}) {
    const DrawNumbers extreme = draw_numbers(temperature, 0, 1, 0, 10);
    EXPECT_GT(extreme.scale, 0);
    EXPECT_TRUE(std::isfinite(extreme.scale) && std::isfinite(extreme.unscale));
  }
}

}  // namespace
}  // namespace awq
