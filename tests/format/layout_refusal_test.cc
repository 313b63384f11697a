// Tensors and sizes that a layout must refuse, and the words in which it does.
#include <gmock/gmock.h>

#include "awq/error.h"
#include "format/layouts.h"
#include "linear_cases.h"

namespace awq::format {
namespace {

using testing::AllOf;
using testing::HasSubstr;

template <class Body>
std::string message(Body&& body) {
  try {
    body();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
    return e.what();
  }
  return "";
}

class EveryLayoutRefuses : public testing::TestWithParam<LayoutRow> {
 protected:
  static constexpr Size kSize{16, 128, 64};
  std::vector<EncodedTensor> tensors_ =
      GetParam().encode(storable(random_linear(kSize.n, kSize.k, kSize.group, true, 3), GetParam()));
  std::string decode(Size s = kSize) {
    return message([&] { GetParam().decode(source_of(tensors_), s.n, s.k, s.group); });
  }
};
INSTANTIATE_TEST_SUITE_P(Rows, EveryLayoutRefuses, testing::ValuesIn(layouts().begin(), layouts().end()),
                         [](const auto& row) { return test_name(row.param); });

TEST_P(EveryLayoutRefuses, AMissingTensorByName) {
  for (const EncodedTensor& planned : GetParam().plan(kSize.n, kSize.k, kSize.group)) {
    const auto kept = tensors_;
    std::erase_if(tensors_, [&](const EncodedTensor& t) { return t.suffix == planned.suffix; });
    EXPECT_THAT(decode(), AllOf(HasSubstr(planned.suffix), HasSubstr("missing")));
    tensors_ = kept;
  }
}

TEST_P(EveryLayoutRefuses, WrongDtypeShapeOrSizeByName) {
  for (EncodedTensor& t : tensors_) {
    const EncodedTensor good = t;
    t.dtype = Dtype::kF64;
    EXPECT_THAT(decode(),
                AllOf(HasSubstr(t.suffix + " has dtype F64"), HasSubstr(std::string(dtype_name(good.dtype)))));
    t = good;
    t.shape.back() += 8;
    EXPECT_THAT(decode(), AllOf(HasSubstr(t.suffix), HasSubstr("shape")));
    t = good;
    t.shape.push_back(1);
    EXPECT_THAT(decode(), AllOf(HasSubstr(t.suffix), HasSubstr("shape")));
    t = good;
    t.bytes.pop_back();
    EXPECT_THAT(decode(), AllOf(HasSubstr(t.suffix), HasSubstr("bytes")));
    t = good;
  }
  EXPECT_EQ(decode(), "");
}

TEST_P(EveryLayoutRefuses, ASizeThatContradictsTheTensors) {
  EXPECT_NE(decode({16, 128, 32}), "");
  EXPECT_NE(decode({24, 128, 64}), "");
  EXPECT_NE(decode({16, 192, 64}), "");
  EXPECT_NE(decode({0, 128, 64}), "");
  EXPECT_NE(decode({16, 128, 0}), "");
  EXPECT_NE(decode({16, -128, 64}), "");
  EXPECT_NE(decode({int64_t{1} << 40, int64_t{1} << 40, 1 << 20}), "");
}

TEST_P(EveryLayoutRefuses, NaNAndInfinity) {
  for (const f16_t poison : {0x7e00, 0x7c00, 0xfc00, 0x7c01}) {
    for (EncodedTensor& t : tensors_) {
      if (t.suffix != "scales" && t.suffix != "weight_scale" && t.suffix != "bias") continue;
      const EncodedTensor good = t;
      if (const float wide = f16_to_f32(poison); t.dtype == Dtype::kF32)
        std::memcpy(t.bytes.data(), &wide, sizeof wide);
      else
        std::memcpy(t.bytes.data(), &poison, sizeof poison);
      EXPECT_THAT(decode(), AllOf(HasSubstr(t.suffix + " holds"), HasSubstr("output feature 0"))) << poison;
      t = good;
    }
    QuantizedLinear w = storable(random_linear(kSize.n, kSize.k, kSize.group, false, 3), GetParam());
    w.scales.back() = poison;
    EXPECT_THAT(message([&] { GetParam().encode(w); }), HasSubstr("scales holds"));
  }
}

TEST_P(EveryLayoutRefuses, CodesThatDoNotFitFourBits) {
  QuantizedLinear w = random_linear(kSize.n, kSize.k, kSize.group, false, 3);
  w.q[77] = 16;
  EXPECT_THAT(message([&] { GetParam().encode(w); }), HasSubstr("q holds a code above 15"));
  w = random_linear(kSize.n, kSize.k, kSize.group, false, 3);
  w.zeros[5] = 200;
  EXPECT_THAT(message([&] { GetParam().encode(w); }), HasSubstr("zeros holds a code above 15"));
  w = random_linear(kSize.n, kSize.k, kSize.group, false, 3);
  w.bits = 3;
  EXPECT_THAT(message([&] { GetParam().encode(w); }), HasSubstr("bits = 3"));
}

TEST(LayoutRefusal, NamesTheNumbers) {
  EXPECT_EQ(kGemmRow.refusal(8, 8, 8), "");
  EXPECT_EQ(kGemmRow.refusal(100, 128, 128), "gemm needs n % 8 == 0, n = 100");
  EXPECT_EQ(kGemmRow.refusal(8, 4544, 128), "the group must divide k, k = 4544, group = 128");
  EXPECT_EQ(kGemvRow.refusal(3, 4096, 128), "");
  EXPECT_EQ(kGemvRow.refusal(8, 144, 144), "gemv needs k % 32 == 0, k = 144");
  EXPECT_EQ(kGemvRow.refusal(8, 4096, 16), "gemv needs a group of 32, 64 or at least 128, group = 16");
  EXPECT_EQ(kGemvRow.refusal(8, 192, 96), "gemv needs a group of 32, 64 or at least 128, group = 96");
  EXPECT_EQ(kGemvFastRow.refusal(12, 4096, 128), "gemv_fast needs n % 8 == 0, n = 12");
  EXPECT_EQ(kGemvFastRow.refusal(8, 160, 160), "gemv_fast needs k % 64 == 0, k = 160");
}

TEST(LayoutRegistry, UnknownNamesAreNotFound) {
  EXPECT_EQ(find_layout("exllama"), nullptr);
  EXPECT_EQ(find_layout(""), nullptr);
  EXPECT_EQ(find_layout("gem"), nullptr);
  EXPECT_EQ(layout_names(), "gemm, gemv, gemv_fast, compressed-tensors, compressed-tensors-sym, modelopt");
}

TEST(QuantizationConfigJson, HasAutoAwqsKeysOnly) {
  EXPECT_EQ(quantization_config_json({}),
            "{\n  \"quant_method\": \"awq\",\n  \"bits\": 4,\n  \"group_size\": 128,\n  \"zero_point\": true,\n"
            "  \"version\": \"gemm\",\n  \"modules_to_not_convert\": null\n}");
  const std::string json = quantization_config_json({.bits = 4,
                                                     .group_size = 64,
                                                     .zero_point = false,
                                                     .version = Layout::kGemvFast,
                                                     .modules_to_not_convert = {"a\"b"}});
  EXPECT_THAT(json, AllOf(HasSubstr("\"group_size\": 64"), HasSubstr("\"zero_point\": true"),
                          HasSubstr("\"version\": \"gemv_fast\""), HasSubstr("\"a\\\"b\"")));
}

}  // namespace
}  // namespace awq::format
