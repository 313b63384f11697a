// The packed words of small matrices, worked out by hand and by an independent script, bit for bit.
#include <gmock/gmock.h>

#include "format/layouts.h"
#include "linear_cases.h"

namespace awq::format {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::ElementsAreArray;

int64_t example_b(int64_t n, int64_t k) { return 3 * n + 5 * k + 1; }

std::vector<uint16_t> first_block(const QuantizedLinear& w) {
  std::vector<uint16_t> words = words_of<uint16_t>(kGemvFastRow.encode(w)[0]);
  words.resize(64);
  return words;
}

TEST(GemmWords, OrderOfTheNibbles) {
  const auto tensors = kGemmRow.encode(linear_of(16, 8, 8, [](int64_t n, int64_t) { return n; }));
  const auto words = words_of<uint32_t>(tensors[0]);
  EXPECT_EQ(words[0], 0x75316420u);
  EXPECT_EQ(words[1], 0xFDB9ECA8u);
  EXPECT_EQ(words_of<int32_t>(tensors[0])[1], -38146904);
}

TEST(GemmWords, LinearRamp) {
  const auto tensors = kGemmRow.encode(linear_of(8, 8, 8, example_b));
  EXPECT_THAT(words_of<uint32_t>(tensors[0]), ElementsAre(0x60A43D71u, 0xB5F982C6u, 0x0A4ED71Bu, 0x5F932C60u,
                                                          0xA4E871B5u, 0xF93DC60Au, 0x4E821B5Fu, 0x93D760A4u));
  EXPECT_EQ(words_of<int32_t>(tensors[0])[0], 1621376369);
  EXPECT_EQ(words_of<int32_t>(tensors[0])[1], -1241939258);
}

TEST(GemmWords, ZeroPointsAndDequantizedValues) {
  QuantizedLinear w = linear_of(8, 8, 8, example_b);
  w.zeros = {7, 8, 6, 9, 7, 8, 8, 7};
  const auto tensors = kGemmRow.encode(w);
  EXPECT_EQ(words_of<uint32_t>(tensors[1])[0], 0x78988767u);
  EXPECT_EQ(words_of<int32_t>(tensors[1])[0], 2023262055);
  const QuantizedLinear back = kGemmRow.decode(source_of(tensors), 8, 8, 8);
  EXPECT_EQ(back.dequantized(0, 0), -3.f);
  EXPECT_EQ(back.dequantized(3, 0), 0.5f);
}

TEST(GemvWords, NaturalOrder) {
  const auto ramp = kGemvRow.encode(linear_of(1, 32, 32, [](int64_t, int64_t k) { return k; }));
  EXPECT_EQ(words_of<uint32_t>(ramp[0])[0], 0x76543210u);
  constexpr int kRow[] = {1, 4, 7, 10, 13, 0, 3, 6};
  const auto row = kGemvRow.encode(linear_of(1, 32, 32, [&](int64_t, int64_t k) { return kRow[k % 8]; }));
  EXPECT_THAT(words_of<uint32_t>(row[0]), Each(0x630DA741u));
}

TEST(GemvWords, LinearRamp) {
  const auto tensors = kGemvRow.encode(linear_of(3, 32, 32, example_b));
  const auto words = words_of<uint32_t>(tensors[0]);  // (3, 4)
  EXPECT_EQ(words[0], 0x4FA50B61u);
  EXPECT_EQ(words[4], 0x72D83E94u);
  EXPECT_EQ(words[8], 0xA50B61C7u);
}

TEST(GemvWords, ZeroPointsArePaddedWithZero) {
  QuantizedLinear w = linear_of(1, 384, 128, [](int64_t, int64_t) { return 0; });
  w.zeros = {8, 7, 6};
  const auto tensors = kGemvRow.encode(w);
  EXPECT_THAT(words_of<uint32_t>(tensors[1]), ElementsAre(0x00000678u));
  const f16_t half = f32_to_f16(0.5f);
  EXPECT_THAT(words_of<f16_t>(tensors[2]), ElementsAre(half, half, half, 0, 0, 0, 0, 0));
}

struct Padding {
  int64_t k;
  int group;
  int64_t groups, zero_words, scale_columns;
};
constexpr Padding kPaddings[] = {{4096, 128, 32, 4, 32},     {11008, 128, 86, 11, 88}, {13824, 128, 108, 14, 112},
                                 {18944, 128, 148, 19, 152}, {4096, 64, 64, 8, 64},    {11008, 64, 172, 22, 176},
                                 {4096, 32, 128, 16, 128}};

TEST(Padding, OfScalesAndZeroPoints) {
  for (const Padding& p : kPaddings) {
    EXPECT_EQ(p.k / p.group, p.groups);
    const auto gemv = kGemvRow.plan(8, p.k, p.group);
    EXPECT_THAT(gemv[1].shape, ElementsAre(8, p.zero_words)) << p.k << "/" << p.group;
    EXPECT_THAT(gemv[2].shape, ElementsAre(8, p.scale_columns)) << p.k << "/" << p.group;
    const auto gemv_fast = kGemvFastRow.plan(8, p.k, p.group);
    EXPECT_THAT(gemv_fast[1].shape, ElementsAre(p.scale_columns, 8)) << p.k << "/" << p.group;
    EXPECT_THAT(gemv_fast[2].shape, ElementsAre(p.scale_columns, 8)) << p.k << "/" << p.group;
  }
}

TEST(GemvFastWords, RampOverBothSizes) {
  const auto words = first_block(linear_of(8, 64, 64, [](int64_t n, int64_t k) { return k + n; }));
  const uint16_t run[] = {0x8080, 0x9191, 0xA2A2, 0xB3B3, 0xC4C4, 0xD5D5, 0xE6E6, 0xF7F7};
  EXPECT_THAT(std::vector(words.begin(), words.begin() + 8), ElementsAreArray(run));
  EXPECT_THAT(std::vector(words.begin() + 8, words.begin() + 16), ElementsAreArray(run));
  EXPECT_THAT(std::vector(words.begin() + 16, words.begin() + 24),
              ElementsAre(0x9191, 0xA2A2, 0xB3B3, 0xC4C4, 0xD5D5, 0xE6E6, 0xF7F7, 0x0808));
  EXPECT_EQ(words[63], 0x2A2A);
}

TEST(GemvFastWords, StepsOfEight) {
  const auto words = first_block(linear_of(8, 64, 64, [](int64_t n, int64_t k) { return k / 8 + 4 * n; }));
  EXPECT_EQ(words[0], 0x3210);
  EXPECT_EQ(words[8], 0x7654);
  EXPECT_EQ(words[16], 0x7654);
  EXPECT_EQ(words[24], 0xBA98);
  EXPECT_EQ(words[32], 0xBA98);
  EXPECT_EQ(words[63], 0x3210);
}

TEST(GemvFastWords, EveryTermDiffers) {
  const auto words = first_block(linear_of(8, 64, 64, [](int64_t n, int64_t k) { return k + 5 * n + k / 16; }));
  const std::pair<int, uint16_t> expected[] = {{0, 0x9180},  {1, 0xA291},  {7, 2295},    {8, 0xB3A2},  {15, 0x2A19},
                                               {16, 0xE6D5}, {31, 0x7F6E}, {32, 0x3B2A}, {48, 0x807F}, {63, 0x1908}};
  for (const auto& [p, word] : expected) EXPECT_EQ(words[p], word) << "p = " << p;
}

TEST(GemvFastWords, ZeroPointsAreFp16Offsets) {
  QuantizedLinear w = linear_of(8, 128, 64, [](int64_t, int64_t) { return 0; });
  w.scales[0] = 0x2400, w.zeros[0] = 9;               // row 0, group 0: 2^-6 * 9
  w.scales[1] = f32_to_f16(0.0123f), w.zeros[1] = 7;  // row 0, group 1
  EXPECT_EQ(w.scales[1], 0x224C);
  const auto tensors = kGemvFastRow.encode(w);
  const auto offsets = words_of<uint16_t>(tensors[1]), scales = words_of<uint16_t>(tensors[2]);  // (16, 8)
  EXPECT_EQ(offsets[0], 0xB080);
  EXPECT_EQ(offsets[8], 0xAD82);
  EXPECT_EQ(scales[0], 0x2400);
  EXPECT_EQ(scales[8], 0x224C);
  EXPECT_THAT(std::vector(offsets.begin() + 16, offsets.end()), Each(0));
  EXPECT_THAT(std::vector(scales.begin() + 16, scales.end()), Each(0));
}

}  // namespace
}  // namespace awq::format
