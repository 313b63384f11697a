// What every row of the registry must do, whichever layout it is.
#include <gmock/gmock.h>

#include <bit>
#include <set>

#include "awq/error.h"
#include "format/layouts.h"
#include "linear_cases.h"

namespace awq::format {
namespace {

class EveryLayout : public testing::TestWithParam<LayoutRow> {};
INSTANTIATE_TEST_SUITE_P(Rows, EveryLayout, testing::ValuesIn(layouts().begin(), layouts().end()),
                         [](const auto& row) { return test_name(row.param); });

TEST_P(EveryLayout, DecodesWhatItEncoded) {
  unsigned seed = 0;
  for (const Size& s : kSizes) {
    const QuantizedLinear w = storable(random_linear(s.n, s.k, s.group, seed % 2 == 0, seed), GetParam());
    ++seed;
    EXPECT_TRUE(GetParam().decode(source_of(GetParam().encode(w)), s.n, s.k, s.group) == w) << s;
  }
}

TEST_P(EveryLayout, PlansTheTensorsItEncodes) {
  for (const Size& s : kSizes) {
    const auto planned = GetParam().plan(s.n, s.k, s.group);
    const auto encoded = GetParam().encode(storable(random_linear(s.n, s.k, s.group, false, 1), GetParam()));
    ASSERT_EQ(planned.size(), encoded.size());
    for (size_t i = 0; i < planned.size(); ++i) {
      EXPECT_EQ(planned[i].suffix, encoded[i].suffix);
      EXPECT_EQ(planned[i].dtype, encoded[i].dtype);
      EXPECT_EQ(planned[i].shape, encoded[i].shape) << planned[i].suffix << " " << s;
      EXPECT_TRUE(planned[i].bytes.empty());
    }
  }
}

// Sets one bit of one code at a time: exactly one bit of the packed codes must change, each time another one.
TEST_P(EveryLayout, EveryBitHasItsOwnPlace) {
  constexpr int64_t kN = 16, kK = 192;
  QuantizedLinear w = linear_of(kN, kK, 64, [](int64_t, int64_t) { return 0; });
  std::set<size_t> places;
  const std::vector<std::byte> zeros = GetParam().encode(w)[0].bytes;
  for (size_t code = 0; code < w.q.size(); ++code)
    for (int bit = 0; bit < 4; ++bit) {
      w.q[code] = static_cast<uint8_t>(1 << bit);
      const EncodedTensor codes = GetParam().encode(w)[0];
      ASSERT_EQ(codes.suffix, GetParam().codes);
      int ones = 0;
      for (size_t b = 0; b < codes.bytes.size(); ++b)
        if (const auto byte = static_cast<uint8_t>(codes.bytes[b] ^ zeros[b])) {
          ones += std::popcount(byte);
          places.insert(b * 8 + std::countr_zero(byte));
        }
      ASSERT_EQ(ones, 1) << "code " << code << " bit " << bit;
      w.q[code] = 0;
    }
  EXPECT_EQ(places.size(), w.q.size() * 4);
}

TEST_P(EveryLayout, TellsTheSizeFromTheCodes) {
  for (const Size& s : kSizes) {
    const auto codes = GetParam().plan(s.n, s.k, s.group)[0];
    const LinearSize size = GetParam().size(codes.shape[0], codes.shape[1]);
    EXPECT_EQ(size.n, s.n) << s;
    EXPECT_EQ(size.k, s.k) << s;
  }
}

// A symmetric quantization has a row that holds it, of the same method.
TEST_P(EveryLayout, HasARowForSymmetricWeights) {
  const LayoutRow& row = layout(GetParam().symmetric);
  EXPECT_EQ(row.method, GetParam().method);
  EXPECT_EQ(row.symmetric, row.layout);
  EXPECT_TRUE(GetParam().zero_points || row.layout == GetParam().layout);
}

TEST_P(EveryLayout, IsFoundByNameInAnyCase) {
  std::string upper(GetParam().name);
  for (char& c : upper) c = static_cast<char>(std::toupper(c));
  for (const std::string& name : {std::string(GetParam().name), upper}) {
    ASSERT_NE(find_layout(name), nullptr);
    EXPECT_EQ(find_layout(name)->layout, GetParam().layout);
  }
  EXPECT_EQ(layout(GetParam().layout).name, GetParam().name);
}

// encode(decode(x)) == x: nothing but the weights is in the tensors, and of those everything.
TEST(Layouts, RoundTripThroughEachOtherIsByteIdentical) {
  const auto through = [](const LayoutRow& row, const QuantizedLinear& w) {
    return row.decode(source_of(row.encode(w)), w.n, w.k, w.group);
  };
  const QuantizedLinear w = random_linear(40, 1408, 128, true, 5);
  const auto before = kGemmRow.encode(w);
  const auto after =
      kGemmRow.encode(through(kCompressedTensorsRow, through(kGemvFastRow, through(kGemvRow, through(kGemmRow, w)))));
  ASSERT_EQ(before.size(), after.size());
  for (size_t i = 0; i < before.size(); ++i) EXPECT_EQ(before[i].bytes, after[i].bytes) << before[i].suffix;
}

// All 2 x 31 x 1024 finite scales times all 16 zero points: subnormals, negative scales, products that round and
// products that are subnormal. Where the product leaves fp16 the layout must refuse instead.
TEST(GemvFastZeroPoints, ComeBackForEveryFiniteScale) {
  constexpr int64_t kN = 16;  // one output feature a zero point
  QuantizedLinear w = linear_of(kN, 64, 64, [](int64_t, int64_t) { return 0; });
  for (int64_t z = 0; z < kN; ++z) w.zeros[z] = static_cast<uint8_t>(z);
  int refused = 0;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    if ((bits & 0x7c00) == 0x7c00) continue;
    w.scales.assign(kN, static_cast<f16_t>(bits));
    if (std::abs(f16_to_f32(w.scales[0])) * 15 >= 65520) {
      EXPECT_THROW(kGemvFastRow.encode(w), Error);
      ++refused;
      continue;
    }
    const QuantizedLinear back = kGemvFastRow.decode(source_of(kGemvFastRow.encode(w)), kN, 64, 64);
    const bool nothing_stored = (bits & 0x7fff) == 0;
    ASSERT_EQ(back.zeros, nothing_stored ? std::vector<uint8_t>(kN, 0) : w.zeros) << "scale bits " << bits;
    ASSERT_EQ(back.scales, w.scales);
  }
  EXPECT_GT(refused, 0);
}

TEST(GemvFastZeroPoints, OffsetThatIsNoMultipleOfTheScaleIsRefused) {
  auto tensors = kGemvFastRow.encode(linear_of(8, 64, 64, [](int64_t, int64_t) { return 0; }));
  for (const float offset : {-0.25f, 0.5f, -8.f}) {  // scale 0.5: zero points 0.5, -1, 16
    const f16_t half = f32_to_f16(offset);
    std::memcpy(tensors[1].bytes.data(), &half, sizeof half);
    EXPECT_THROW(kGemvFastRow.decode(source_of(tensors), 8, 64, 64), Error) << offset;
  }
}

}  // namespace
}  // namespace awq::format
