// What is particular to Model Optimizer's export: signed nibbles of two outputs, float32 scales, input scales, its
// file.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "awq/error.h"
#include "format/layouts.h"
#include "format/packing.h"
#include "linear_cases.h"
#include "small_checkpoint.h"

namespace awq::format {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

QuantizedLinear some_linear() {
  constexpr int kRows[2][8] = {{1, -1, 7, 0, 0, 0, 0, 0}, {-8, 2, -3, 0, 0, 0, 0, 0}};
  return linear_of(2, 8, 8, [&](int64_t n, int64_t k) { return kRows[n][k] + 8; });
}

std::string why_not(const std::vector<EncodedTensor>& tensors) {
  try {
    kModeloptRow.decode(source_of(tensors), 2, 8, 8);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
    return e.what();
  }
  return "";
}

TEST(Modelopt, BytesHoldTwoOutputsInTwosComplement) {
  const auto tensors = kModeloptRow.encode(some_linear());
  EXPECT_THAT(words_of<uint8_t>(tensors[0]), ElementsAre(0x81, 0x2F, 0xD7, 0, 0, 0, 0, 0));
  EXPECT_THAT(words_of<float>(tensors[1]), ElementsAre(0.5f, 0.5f));
  EXPECT_EQ(kModeloptRow.refusal(3, 8, 8), "modelopt needs n % 2 == 0, n = 3");
}

TEST(Modelopt, InputScalesStandWhereTheLoaderWantsThem) {
  for (const char* module : {"model.layers.0.self_attn.o_proj", "model.layers.0.mlp.down_proj"}) {
    const auto tensors = encode_module(kModeloptRow, module, some_linear());
    ASSERT_EQ(tensors.size(), 3u);
    EXPECT_EQ(tensors[2].suffix, "pre_quant_scale");
    EXPECT_THAT(words_of<f16_t>(tensors[2]), Each(f32_to_f16(1.f)));
    const auto planned = plan_module(kModeloptRow, module, 2, 8, 8);
    EXPECT_EQ(planned[2].shape, tensors[2].shape);
    EXPECT_THAT(planned[2].bytes, IsEmpty());
  }
  EXPECT_EQ(encode_module(kModeloptRow, "model.layers.0.mlp.up_proj", some_linear()).size(), 2u);
  EXPECT_EQ(encode_module(kGemvRow, "model.layers.0.mlp.down_proj", linear_of(8, 32, 32, [](auto, auto) { return 0; }))
                .size(),
            3u);
}

TEST(Modelopt, BiasStaysLast) {
  QuantizedLinear w = some_linear();
  w.bias = {1, 2};
  const auto tensors = encode_module(kModeloptRow, "o.o_proj", w);
  EXPECT_EQ(tensors.back().suffix, "bias");
  EXPECT_TRUE(kModeloptRow.decode(source_of(tensors), 2, 8, 8) == w);
}

TEST(Modelopt, ExportsOfOthersAreRefused) {
  auto tensors = encode_module(kModeloptRow, "o.o_proj", some_linear());
  EXPECT_EQ(why_not(tensors), "");
  store<f16_t>(tensors[2], 7, f32_to_f16(0.5f));
  EXPECT_THAT(why_not(tensors), AllOf(HasSubstr("pre_quant_scale is not 1"), HasSubstr("quantize the original")));
  tensors[2] = {.suffix = "pre_quant_scale", .dtype = Dtype::kF16, .shape = {9}, .bytes = {}};
  EXPECT_THAT(why_not(tensors), HasSubstr("pre_quant_scale is not 1"));
  tensors.pop_back();
  store<float>(tensors[1], 1, 0.1f);
  EXPECT_THAT(why_not(tensors), HasSubstr("weight_scale holds 0.1 for output feature 1, which fp16 cannot"));
}

TEST(ModeloptConfig, KeysOfBothPlaces) {
  QuantConfig quant;
  quant.version = Layout::kModelopt;
  quant.zero_point = false;
  quant.modules_to_not_convert = {"layers.0"};
  EXPECT_EQ(nlohmann::json::parse(hf_quant_config_json(quant)), nlohmann::json::parse(R"({
    "producer": {"name": "modelopt", "version": "0.47.0"},
    "quantization": {"quant_algo": "W4A16_AWQ", "kv_cache_quant_algo": null, "group_size": 128, "has_zero_point": false,
                     "pre_quant_scale": true, "exclude_modules": ["lm_head", "model.embed_tokens", "*layers.0*"]}})"));
  EXPECT_EQ(nlohmann::json::parse(quantization_config_json(quant)), nlohmann::json::parse(R"({
    "ignore": ["lm_head", "model.embed_tokens", "*layers.0*"], "quant_algo": "W4A16_AWQ", "group_size": 128,
    "producer": {"name": "modelopt", "version": "0.47.0"}, "quant_method": "modelopt"})"));
}

TEST(ModeloptConfig, ReadsWhatItWritesAndNothingElse) {
  QuantConfig quant;
  quant.version = Layout::kModelopt;
  quant.group_size = 64;
  quant.modules_to_not_convert = {"layers.0", "up_proj"};
  const std::string written = quantization_config_json(quant);
  const auto parse = [](const std::string& quantization) {
    return model::parse_config(io::with_member(kSmallConfig, "quantization_config", quantization), "config.json").quant;
  };
  const QuantConfig read = parse(written);
  EXPECT_EQ(read.version, Layout::kModelopt);
  EXPECT_EQ(read.group_size, 64);
  EXPECT_FALSE(read.zero_point);
  EXPECT_EQ(read.modules_to_not_convert, quant.modules_to_not_convert);
  const auto why = [&](const char* key, const char* value) -> std::string {
    try {
      parse(io::with_member(written, key, value));
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_THAT(why("quant_algo", "\"FP8\""), HasSubstr("quant_algo is 'FP8'; W4A16_AWQ is"));
  EXPECT_THAT(why("quant_algo", ""), HasSubstr("(none named)"));
  EXPECT_THAT(why("kv_cache_scheme", "\"FP8\""), HasSubstr("quantized key-value cache"));
  EXPECT_THAT(why("group_size", ""), HasSubstr("exports of Model Optimizer itself are not read"));
  EXPECT_THAT(why("group_size", "12"), HasSubstr("multiple of 8"));
  EXPECT_THAT(why("group_size", "-1"), HasSubstr("group_size is -1"));
  EXPECT_THAT(why("ignore", "3"), HasSubstr("ignore is 3"));
  EXPECT_THAT(why("ignore", "[3]"), HasSubstr("ignore holds 3"));
  EXPECT_EQ(why("ignore", R"(["a*", "*b?c*", "**", ""])"), "");
}

}  // namespace
}  // namespace awq::format
