#include "io/convert.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <vector>

#include "core/half.h"

namespace awq::io {
namespace {

// Bits, so that NaNs and signed zeros count.
std::vector<uint32_t> converted(Dtype dtype, const void* in, size_t count) {
  std::vector<float> out(count);
  convert_to_f32(dtype, static_cast<const std::byte*>(in), out);
  std::vector<uint32_t> bits;
  for (const float f : out) bits.push_back(std::bit_cast<uint32_t>(f));
  return bits;
}

TEST(ConvertTest, EveryHalfEqualsTheReference) {
  std::vector<uint16_t> all(65536);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  const auto f16 = converted(Dtype::kF16, all.data(), all.size()),
             bf16 = converted(Dtype::kBF16, all.data(), all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    ASSERT_EQ(f16[i], std::bit_cast<uint32_t>(f16_to_f32(all[i]))) << i;
    ASSERT_EQ(bf16[i], std::bit_cast<uint32_t>(bf16_to_f32(all[i]))) << i;
  }
}

TEST(ConvertTest, UnalignedInputAndRaggedLengths) {
  for (size_t count = 0; count < 40; ++count) {
    std::vector<uint16_t> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = f32_to_f16(static_cast<float>(i) - 7);
    std::vector<std::byte> bytes(2 * count + 1);
    if (count) std::memcpy(bytes.data() + 1, values.data(), 2 * count);
    const auto out = converted(Dtype::kF16, bytes.data() + 1, count);
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(std::bit_cast<float>(out[i]), static_cast<float>(i) - 7);
  }
}

TEST(ConvertTest, WideTypes) {
  const double wide[] = {1.5, 0.1, -1e300};
  const auto out = converted(Dtype::kF64, wide, 3);
  EXPECT_EQ(std::bit_cast<float>(out[1]), 0.1f);
  EXPECT_EQ(out[2], 0xff800000u);  // out of range: -infinity, which the caller's check for finite weights names
  const float same[] = {0.1f, -0.f};
  EXPECT_EQ(converted(Dtype::kF32, same, 2)[1], 0x80000000u);
  EXPECT_FALSE(converts_to_f32(Dtype::kI32));
}

}  // namespace
}  // namespace awq::io
