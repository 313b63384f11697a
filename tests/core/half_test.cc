#include "core/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#if defined(__x86_64__)
#  include <immintrin.h>
#endif

namespace awq {
namespace {

// From the definition, in float64.
double value_of_f16(uint16_t h) {
  const int exp = (h >> 10) & 31, man = h & 1023;
  const double magnitude = exp == 0 ? std::ldexp(man, -24) : std::ldexp(1024 + man, exp - 25);
  return (h & 0x8000) ? -magnitude : magnitude;
}
bool is_nan_f16(uint16_t h) { return (h & 0x7fff) > 0x7c00; }

TEST(HalfTest, EveryHalfHasItsValue) {
  for (uint32_t h = 0; h < 65536; ++h) {
    const float f = f16_to_f32(static_cast<uint16_t>(h));
    if ((h & 0x7c00) == 0x7c00) {
      EXPECT_EQ(std::isnan(f), is_nan_f16(static_cast<uint16_t>(h))) << h;
      EXPECT_EQ(std::signbit(f), (h & 0x8000) != 0) << h;
    } else {
      ASSERT_EQ(f, value_of_f16(static_cast<uint16_t>(h))) << h;
      ASSERT_EQ(std::signbit(f), (h & 0x8000) != 0) << h;
    }
  }
}

TEST(HalfTest, EveryHalfSurvivesTheRoundTrip) {
  for (uint32_t h = 0; h < 65536; ++h) {
    const uint16_t back = f32_to_f16(f16_to_f32(static_cast<uint16_t>(h)));
    if (is_nan_f16(static_cast<uint16_t>(h)))
      EXPECT_TRUE(is_nan_f16(back));
    else
      ASSERT_EQ(back, h);
  }
}

// Between two neighbours: below the middle goes down, above goes up, the middle itself goes to the even one.
TEST(HalfTest, RoundsToNearestEven) {
  for (uint32_t h = 0; h < 0x7bff; ++h) {
    const auto low = static_cast<uint16_t>(h), high = static_cast<uint16_t>(h + 1);
    const float middle = static_cast<float>((value_of_f16(low) + value_of_f16(high)) / 2);  // exact: one bit more
    const uint16_t even = (h & 1) ? high : low;
    ASSERT_EQ(f32_to_f16(middle), even) << h;
    ASSERT_EQ(f32_to_f16(-middle), even | 0x8000) << h;
    ASSERT_EQ(f32_to_f16(std::nextafter(middle, 0.f)), low) << h;
    ASSERT_EQ(f32_to_f16(std::nextafter(middle, 1e9f)), high) << h;
  }
  EXPECT_EQ(f32_to_f16(65519.996f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.f), 0x7c00);
  EXPECT_EQ(f32_to_f16(INFINITY), 0x7c00);
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0);
  EXPECT_EQ(f32_to_f16(0x1.000002p-25f), 1);
}

TEST(HalfTest, Bf16RoundsToNearestEven) {
  for (uint32_t h = 0; h < 0x7f7f; ++h) {
    const auto low = static_cast<uint16_t>(h);
    ASSERT_EQ(f32_to_bf16(bf16_to_f32(low)), low);
    const float middle = std::bit_cast<float>((h << 16) + 0x8000);
    ASSERT_EQ(f32_to_bf16(middle), (h & 1) ? h + 1 : h);
    ASSERT_EQ(f32_to_bf16(std::bit_cast<float>((h << 16) + 0x7fff)), h);
    ASSERT_EQ(f32_to_bf16(std::bit_cast<float>((h << 16) + 0x8001)), h + 1);
  }
  EXPECT_TRUE(
      std::isnan(bf16_to_f32(f32_to_bf16(std::bit_cast<float>(0x7f800001u)))));  // its upper half alone is infinity
  EXPECT_EQ(f32_to_bf16(INFINITY), 0x7f80);
  EXPECT_EQ(f32_to_bf16(3.4e38f), 0x7f80);
}

#if defined(__x86_64__)
__attribute__((target("f16c"))) float hardware_to_f32(uint16_t h) { return _cvtsh_ss(h); }
__attribute__((target("f16c"))) uint16_t hardware_to_f16(float f) { return _cvtss_sh(f, _MM_FROUND_TO_NEAREST_INT); }

TEST(HalfTest, AgreesWithTheProcessor) {
  if (!__builtin_cpu_supports("avx2")) GTEST_SKIP() << "this processor has no AVX2, hence maybe no F16C";
  for (uint32_t h = 0; h < 65536; ++h) {
    if (is_nan_f16(static_cast<uint16_t>(h))) continue;
    ASSERT_EQ(std::bit_cast<uint32_t>(f16_to_f32(static_cast<uint16_t>(h))),
              std::bit_cast<uint32_t>(hardware_to_f32(static_cast<uint16_t>(h))))
        << h;
  }
  std::mt19937 random(1);
  for (int i = 0; i < 2'000'000; ++i) {
    const float f = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (std::isnan(f)) continue;
    ASSERT_EQ(f32_to_f16(f), hardware_to_f16(f)) << f;
  }
}
#endif

}  // namespace
}  // namespace awq
