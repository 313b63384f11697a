// What is particular to compressed-tensors: words of the zero points, the shape tensor, scales in bf16, config_groups.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "awq/error.h"
#include "format/layouts.h"
#include "format/packing.h"
#include "linear_cases.h"
#include "model/config.h"
#include "small_checkpoint.h"

namespace awq::format {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const LayoutRow* const kBoth[] = {&kCompressedTensorsRow, &kCompressedTensorsSymRow};

EncodedTensor& tensor(std::vector<EncodedTensor>& tensors, std::string_view suffix) {
  for (EncodedTensor& t : tensors)
    if (t.suffix == suffix) return t;
  throw std::runtime_error("no " + std::string(suffix));
}

std::string why_not(const LayoutRow& row, const std::vector<EncodedTensor>& tensors, int64_t n, int64_t k, int group) {
  try {
    row.decode(source_of(tensors), n, k, group);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
    return e.what();
  }
  return "";
}

TEST(CompressedTensors, WordsOfTheCodes) {
  constexpr int kRow[] = {-8, -7, -1, 0, 1, 2, 6, 7};
  for (const LayoutRow* row : kBoth) {
    auto tensors = row->encode(linear_of(1, 8, 8, [&](int64_t, int64_t k) { return kRow[k] + 8; }));
    EXPECT_THAT(words_of<uint32_t>(tensor(tensors, "weight_packed")), ElementsAre(0xFEA98710u));
    EXPECT_THAT(words_of<int32_t>(tensor(tensors, "weight_packed")), ElementsAre(-22444272));
    EXPECT_THAT(words_of<int64_t>(tensor(tensors, "weight_shape")), ElementsAre(1, 8));
  }
}

TEST(CompressedTensors, WordsOfTheZeroPointsRunDownTheOutputs) {
  constexpr int kZeros[] = {-1, 0, -2, 1, -1, 0, 0, -1};
  const std::vector<std::pair<int64_t, uint32_t>> kWords = {{8, 0x78879687u}, {5, 0x00079687u}};  // 5: padded with 0
  for (const auto& [n, word] : kWords) {
    QuantizedLinear w = linear_of(n, 8, 8, [](int64_t, int64_t) { return 0; });
    for (int64_t i = 0; i < n; ++i) w.zeros[i] = static_cast<uint8_t>(kZeros[i] + 8);
    auto tensors = kCompressedTensorsRow.encode(w);
    EXPECT_THAT(words_of<uint32_t>(tensor(tensors, "weight_zero_point")), ElementsAre(word));
    EXPECT_TRUE(kCompressedTensorsRow.decode(source_of(tensors), n, 8, 8) == w);
  }
}

TEST(CompressedTensors, RaggedSizesComeBack) {
  unsigned seed = 1;
  for (const Size& s : {Size{1, 8, 8}, Size{7, 24, 8}, Size{9, 136, 136}, Size{13, 256, 32}}) {
    const QuantizedLinear w = random_linear(s.n, s.k, s.group, true, seed++);
    EXPECT_TRUE(kCompressedTensorsRow.decode(source_of(kCompressedTensorsRow.encode(w)), s.n, s.k, s.group) == w) << s;
  }
  EXPECT_EQ(kCompressedTensorsRow.refusal(8, 12, 4), "compressed-tensors needs k % 8 == 0, k = 12");
}

TEST(CompressedTensors, ScalesInBf16AreReadAsFp16) {
  auto tensors = kCompressedTensorsRow.encode(linear_of(4, 8, 8, [](int64_t, int64_t) { return 9; }));
  EncodedTensor& scale = tensor(tensors, "weight_scale");
  scale.dtype = Dtype::kBF16;
  const std::vector<std::pair<float, float>> kValues = {{0.01171875f, 0.01171875f},  // 1.5 * 2^-7: exact in both
                                                        {0x1.02p-14f, 0x1.02p-14f},  // fp16's smallest normal binade
                                                        {0x1.82p-20f, 0x1.8p-20f},   // below: a multiple of 2^-24
                                                        {-2.f, -2.f}};
  for (size_t i = 0; i < kValues.size(); ++i)
    store<bf16_t>(scale, static_cast<int64_t>(i), f32_to_bf16(kValues[i].first));
  const QuantizedLinear w = kCompressedTensorsRow.decode(source_of(tensors), 4, 8, 8);
  for (size_t i = 0; i < kValues.size(); ++i) EXPECT_EQ(f16_to_f32(w.scales[i]), kValues[i].second);
  store<bf16_t>(scale, 2, f32_to_bf16(1e6f));
  EXPECT_THAT(why_not(kCompressedTensorsRow, tensors, 4, 8, 8),
              HasSubstr("weight_scale holds inf for output feature 2"));
}

TEST(CompressedTensors, OnlyScalesMayBeBf16) {
  auto tensors = kGemmRow.encode(linear_of(8, 8, 8, [](int64_t, int64_t) { return 9; }));
  tensor(tensors, "scales").dtype = Dtype::kBF16;
  EXPECT_THAT(why_not(kGemmRow, tensors, 8, 8, 8), HasSubstr("scales has dtype BF16, F16 is needed"));
}

TEST(CompressedTensors, RefusesAShapeTensorOfAnotherModel) {
  for (const LayoutRow* row : kBoth) {
    auto tensors = row->encode(linear_of(8, 16, 8, [](int64_t, int64_t) { return 0; }));
    store<int64_t>(tensor(tensors, "weight_shape"), 1, 17);
    EXPECT_THAT(why_not(*row, tensors, 8, 16, 8), HasSubstr("weight_shape says [8, 17], config.json implies [8, 16]"));
  }
}

TEST(CompressedTensors, RefusesReorderedInputs) {
  for (const LayoutRow* row : kBoth) {
    auto tensors = row->encode(linear_of(8, 16, 8, [](int64_t, int64_t) { return 0; }));
    tensors.push_back(zero_filled(described("weight_g_idx", Dtype::kI32, {16})));
    EXPECT_THAT(why_not(*row, tensors, 8, 16, 8), AllOf(HasSubstr("weight_g_idx"), HasSubstr("\"static\"")));
  }
}

TEST(CompressedTensors, SymmetricRowHoldsNoZeroPoints) {
  QuantizedLinear w = linear_of(8, 16, 8, [](int64_t, int64_t) { return 3; });
  auto tensors = kCompressedTensorsRow.encode(w);
  EXPECT_THAT(why_not(kCompressedTensorsSymRow, tensors, 8, 16, 8), HasSubstr("set its \"symmetric\" to false"));
  w.zeros[13] = 7;
  try {
    kCompressedTensorsSymRow.encode(w);
    ADD_FAILURE() << "was written";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("output feature 6 has a zero point of 7"), HasSubstr("--sym")));
  }
}

QuantConfig config_for(Layout layout, int group, std::vector<std::string> skipped = {}) {
  return {.bits = 4,
          .group_size = group,
          .zero_point = layout == Layout::kCompressedTensors,
          .version = layout,
          .modules_to_not_convert = std::move(skipped)};
}

TEST(CompressedTensorsConfig, HasTheKeysOfACompressedModel) {
  EXPECT_EQ(quantization_config_json(config_for(Layout::kCompressedTensors, 128, {"layers.0.mlp"})),
            nlohmann::ordered_json::parse(R"({
    "quant_method": "compressed-tensors", "format": "pack-quantized",
    "quantization_status": "compressed", "global_compression_ratio": null,
    "kv_cache_scheme": null, "ignore": ["lm_head", "re:.*layers\\.0\\.mlp.*"],
    "config_groups": { "group_0": {
      "targets": ["Linear"], "format": "pack-quantized",
      "input_activations": null, "output_activations": null,
      "weights": { "num_bits": 4, "type": "int", "symmetric": false, "strategy": "group",
        "group_size": 128, "dynamic": false, "actorder": null, "block_structure": null,
        "observer": "memoryless_minmax", "observer_kwargs": {},
        "scale_dtype": null, "zp_dtype": "torch.int8" } } } })")
                .dump(2));
}

TEST(CompressedTensorsConfig, ReadsWhatItWrites) {
  for (const Layout layout : {Layout::kCompressedTensors, Layout::kCompressedTensorsSym})
    for (const int group : {-1, 32, 128}) {
      const QuantConfig written = config_for(layout, group, {"layers.0.", "a+b\\c", "gate"});
      const model::ModelConfig read = model::parse_config(
          io::with_member(kSmallConfig, "quantization_config", quantization_config_json(written)), "config.json");
      EXPECT_TRUE(read.quantized);
      EXPECT_EQ(read.quant.version, layout);
      EXPECT_EQ(read.quant.zero_point, written.zero_point);
      EXPECT_EQ(read.quant.group_size, group);
      EXPECT_EQ(read.quant.modules_to_not_convert, written.modules_to_not_convert);
    }
}

}  // namespace
}  // namespace awq::format
