#include "format/awq_checkpoint.h"

#include <gmock/gmock.h>

#include "awq/error.h"
#include "small_checkpoint.h"

namespace awq::format {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

constexpr const char* kDown = "model.layers.1.mlp.down_proj";  // n = 128, k = 192

model::ModelConfig config_of(const io::Checkpoint& checkpoint) {
  return model::parse_config(checkpoint.config_text(), "config.json");
}

// What reading `module` says when it is refused.
std::string refusal_of(const SmallCheckpoint& small, const std::string& module = kDown) {
  TempFolder folder;
  small.write(folder.path());
  const io::Checkpoint checkpoint(folder.path());
  try {
    read_linear(checkpoint, config_of(checkpoint), module, 128, 192);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
    EXPECT_THAT(e.what(), HasSubstr(module));
    return e.what();
  }
  ADD_FAILURE() << "was accepted";
  return "";
}

// The checkpoint with one tensor of kDown changed.
template <class Change>
std::string refusal_after(const char* suffix, Change&& change) {
  SmallCheckpoint small;
  small.damage = [&](const std::string& module, std::vector<EncodedTensor>& tensors) {
    for (EncodedTensor& t : tensors)
      if (module == kDown && t.suffix == suffix) change(t);
  };
  return refusal_of(small);
}

// What a device takes apart has its codes as they lie in the file; decoded as what it says it is, it is the linear.
void expect_stored(const io::Checkpoint& checkpoint, const LayoutRow& row, const std::string& module,
                   const QuantizedLinear& linear) {
  const std::optional<StoredLinear> w = read_stored(checkpoint, config_of(checkpoint), module, linear.n, linear.k);
  ASSERT_EQ(w.has_value(), row.stored != nullptr);
  if (!w) return;
  EXPECT_TRUE(w->codes == row.encode(linear)[0].bytes);
  ASSERT_TRUE(w->layout == Layout::kGemm || w->layout == Layout::kGemv) << "what RunLinear takes";
  EXPECT_TRUE(w->n == linear.n && w->k == linear.k && w->group == linear.group);
  std::vector<EncodedTensor> tensors = layout(w->layout).plan(w->n, w->k, w->group);
  tensors[0].bytes = w->codes, tensors[1].bytes = w->zeros, tensors[2].bytes = w->scales;
  const auto source = [&](std::string_view suffix) {
    const auto found = std::ranges::find(tensors, suffix, &EncodedTensor::suffix);
    return found == tensors.end() ? nullptr : &*found;
  };
  QuantizedLinear decoded = layout(w->layout).decode(source, w->n, w->k, w->group);
  decoded.bias = w->bias;
  EXPECT_TRUE(decoded == linear);
  EXPECT_FALSE(read_stored(checkpoint, config_of(checkpoint), module, linear.n, linear.k + linear.group));
}

class ReadLinear : public testing::TestWithParam<LayoutRow> {};
INSTANTIATE_TEST_SUITE_P(Rows, ReadLinear, testing::ValuesIn(layouts().begin(), layouts().end()),
                         [](const auto& row) { return test_name(row.param); });

TEST_P(ReadLinear, GivesBackEveryLinear) {
  SmallCheckpoint small;
  small.store_as(GetParam());
  TempFolder folder;
  small.write(folder.path());
  const io::Checkpoint checkpoint(folder.path());
  const model::ModelConfig config = config_of(checkpoint);
  for (const auto& [module, linear] : small.linears) {
    EXPECT_TRUE(is_quantized_module(checkpoint, module));
    EXPECT_TRUE(read_linear(checkpoint, config, module, linear.n, linear.k) == linear) << module;
    SCOPED_TRACE(module);
    expect_stored(checkpoint, GetParam(), module, linear);
  }
  EXPECT_FALSE(is_quantized_module(checkpoint, "lm_head"));
  EXPECT_FALSE(is_quantized_module(checkpoint, "model.embed_tokens"));
}

// What kDown of `small` is, read_linear has to say.
void expect_left_to_read_linear(const SmallCheckpoint& small) {
  TempFolder folder;
  small.write(folder.path());
  const io::Checkpoint checkpoint(folder.path());
  EXPECT_FALSE(read_stored(checkpoint, config_of(checkpoint), kDown, 128, 192));
  EXPECT_THROW(read_linear(checkpoint, config_of(checkpoint), kDown, 128, 192), Error);
}

TEST(ReadStored, LeavesReorderedInputsToWhoRefusesThem) {
  SmallCheckpoint small;
  small.store_as(kCompressedTensorsRow);
  small.damage = [](const std::string& module, std::vector<EncodedTensor>& tensors) {
    if (module == kDown) tensors.push_back(zero_filled(described("weight_g_idx", Dtype::kI32, {192})));
  };
  expect_left_to_read_linear(small);
}

TEST(ReadStored, LeavesScalesThatCannotBeMeantToWhoRefusesThem) {
  for (const f16_t scale : {f16_t{0}, f16_t{0x7e00}}) {
    SmallCheckpoint small;
    small.damage = [&](const std::string&, std::vector<EncodedTensor>& tensors) {
      for (EncodedTensor& t : tensors)
        if (t.suffix == "scales")
          for (size_t i = 0; i < t.bytes.size() / sizeof(f16_t); ++i) store(t, static_cast<int64_t>(i), scale);
    };
    expect_left_to_read_linear(small);
  }
}

TEST_P(ReadLinear, NamesTheLayoutThatTheTensorsAreReallyIn) {
  for (const LayoutRow& declared : layouts()) {
    if (declared.layout == GetParam().layout) continue;
    TempFolder folder;
    SmallCheckpoint small;
    small.store_as(GetParam());
    small.write(folder.path());
    QuantConfig wrong = small.quant;
    wrong.version = declared.layout;
    io::write_file(folder / "config.json",
                   io::with_member(kSmallConfig, "quantization_config", quantization_config_json(wrong)));
    const io::Checkpoint checkpoint(folder.path());
    try {
      read_linear(checkpoint, config_of(checkpoint), kDown, 128, 192);
      ADD_FAILURE() << "was accepted";
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), AllOf(AnyOf(HasSubstr("it should hold " + std::string(GetParam().declared_by)),
                                        HasSubstr("set its \"symmetric\" to false")),
                                  HasSubstr(kDown)));
    }
  }
}

TEST(ReadLinearRefuses, MissingTensors) {
  for (const char* suffix : {"qweight", "qzeros", "scales"}) {
    SmallCheckpoint small;
    small.damage = [&](const std::string& module, std::vector<EncodedTensor>& tensors) {
      if (module == kDown) std::erase_if(tensors, [&](const EncodedTensor& t) { return t.suffix == suffix; });
    };
    EXPECT_THAT(refusal_of(small), AllOf(HasSubstr(suffix), HasSubstr("missing")));
  }
  EXPECT_THAT(refusal_of(SmallCheckpoint(), "model.layers.7.mlp.down_proj"), HasSubstr("qweight is missing"));
}

TEST(ReadLinearRefuses, WrongDtypeAndShape) {
  EXPECT_THAT(refusal_after("scales", [](EncodedTensor& t) { t.dtype = Dtype::kBF16; }),
              HasSubstr("scales has dtype BF16"));
  EXPECT_THAT(refusal_after("qweight", [](EncodedTensor& t) { t.dtype = Dtype::kF32; }),
              HasSubstr("qweight has dtype F32"));
  EXPECT_THAT(refusal_after("qzeros", [](EncodedTensor& t) { std::swap(t.shape[0], t.shape[1]); }),
              AllOf(HasSubstr("qzeros has shape [16, 3]"), HasSubstr("[3, 16] is needed")));
}

TEST(ReadLinearRefuses, ScalesThatCannotBeMeant) {
  EXPECT_THAT(refusal_after("scales", [](EncodedTensor& t) { store<f16_t>(t, 5, 0x7e00); }),
              HasSubstr("scales holds nan"));
  EXPECT_THAT(refusal_after("scales", [](EncodedTensor& t) { store<f16_t>(t, 5, 0xfc00); }),
              HasSubstr("scales holds -inf"));
  EXPECT_THAT(
      refusal_after("scales", [](EncodedTensor& t) { std::fill(t.bytes.begin(), t.bytes.end(), std::byte{0}); }),
      HasSubstr("every scale is 0"));
}

TEST(ReadLinearRefuses, AGroupThatDoesNotFit) {
  TempFolder folder;
  SmallCheckpoint small;
  small.write(folder.path());
  small.quant.group_size = 128;  // 192 % 128 != 0
  io::write_file(folder / "config.json",
                 io::with_member(kSmallConfig, "quantization_config", quantization_config_json(small.quant)));
  const io::Checkpoint checkpoint(folder.path());
  try {
    read_linear(checkpoint, config_of(checkpoint), kDown, 128, 192);
    ADD_FAILURE() << "was accepted";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("k = 192, group = 128"), HasSubstr(kDown)));
  }
}

TEST(ReadLinearAccepts, BiasInTheDtypeOfTheOriginalModel) {
  constexpr const char* kQuery = "model.layers.0.self_attn.q_proj";
  SmallCheckpoint small;
  const std::vector<float> bias(128, 1.5f);
  small.damage = [&](const std::string& module, std::vector<EncodedTensor>& tensors) {
    if (module != kQuery) return;
    tensors.back() = {.suffix = "bias", .dtype = Dtype::kF32, .shape = {128}, .bytes = {}};
    const auto bytes = std::as_bytes(std::span(bias));
    tensors.back().bytes.assign(bytes.begin(), bytes.end());
  };
  TempFolder folder;
  small.write(folder.path());
  const io::Checkpoint checkpoint(folder.path());
  const QuantizedLinear w = read_linear(checkpoint, config_of(checkpoint), kQuery, 128, 128);
  EXPECT_EQ(w.bias, std::vector<f16_t>(128, f32_to_f16(1.5f)));
}

TEST(ResolvedGroup, MinusOneIsTheWholeRow) {
  QuantConfig quant;
  quant.group_size = -1;
  EXPECT_EQ(resolved_group(quant, 4544), 4544);
  quant.group_size = 64;
  EXPECT_EQ(resolved_group(quant, 4544), 64);
}

}  // namespace
}  // namespace awq::format
