#include "format/serving.h"

#include <gmock/gmock.h>

#include "awq/error.h"
#include "model/architectures.h"

namespace awq::format {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::SizeIs;

const IsPacked kAll = [](const std::string&) { return true; };

model::ModelConfig model_of(int64_t hidden, int64_t intermediate, int64_t heads, int64_t kv_heads) {
  model::ModelConfig c;
  c.arch = model::find_architecture("LlamaForCausalLM");
  c.hidden = hidden, c.intermediate = intermediate, c.layers = 2, c.vocab = 1000;
  c.heads = heads, c.kv_heads = kv_heads, c.head_dim = hidden / heads;
  return c;
}
const model::ModelConfig kQwen72b = model_of(8192, 29568, 64, 8);  // Qwen2.5-72B
const model::ModelConfig kLlama7b = model_of(4096, 11008, 32, 32);
const model::ModelConfig kLlama8b = model_of(4096, 14336, 32, 8);

QuantConfig with_group(int group, Layout layout = Layout::kGemm) {
  QuantConfig quant;
  quant.group_size = group, quant.version = layout;
  return quant;
}

ServeCheck check(const model::ModelConfig& config, const QuantConfig& quant, int gpus, const IsPacked& packed = kAll) {
  return check_serving(config, quant, packed, std::span<const int>(&gpus, 1)).front();
}
std::string remedy(const model::ModelConfig& config, const QuantConfig& quant, const std::vector<int>& gpus) {
  return serving_remedy(config, quant, kAll, gpus);
}

TEST(Serving, SizesThatArePowersOfTwoServeEverywhere) {
  for (const int gpus : {1, 2, 4, 8}) {
    EXPECT_THAT(check(kLlama8b, with_group(128), gpus).refusals, IsEmpty()) << gpus;
    EXPECT_THAT(check(kLlama8b, with_group(128), gpus).slower, IsEmpty()) << gpus;
  }
  EXPECT_EQ(remedy(kLlama8b, with_group(128), {1, 2, 4, 8}), "");
}

// vLLM issue 21695: 29568 = 231 groups of 128.
TEST(Serving, GroupsThatDoNotDivideAmongTheGpus) {
  EXPECT_THAT(check(kQwen72b, with_group(128), 1).refusals, IsEmpty());
  EXPECT_THAT(check(kQwen72b, with_group(128), 2).refusals,
              ElementsAre("mlp.down_proj: 29568 inputs do not make 2 equal shares of whole groups of 128"));
  EXPECT_THAT(check(kQwen72b, with_group(64), 2).refusals, IsEmpty());
  EXPECT_THAT(check(kQwen72b, with_group(64), 2).slower,
              ElementsAre("mlp.down_proj: 8192 outputs and 14784 inputs on each GPU, Marlin kernels need multiples of "
                          "64 and 128"));
  EXPECT_THAT(check(kLlama7b, with_group(128), 4).refusals, ElementsAre(HasSubstr("11008 inputs do not make 4")));
}

TEST(Serving, RemediesComeWithTheirNumbers) {
  const std::string pad = "--pad-intermediate auto (intermediate size 29568 -> 29696)";
  EXPECT_EQ(remedy(kQwen72b, with_group(128), {1, 2}), "quantize with --group-size 64, or " + pad);
  EXPECT_EQ(remedy(kQwen72b, with_group(128), {1, 2, 4}),
            "quantize with --group-size 32, or --pad-intermediate auto (intermediate size 29568 -> 29696)");
  EXPECT_EQ(remedy(kQwen72b, with_group(128), {1, 2, 4, 8}), "quantize with " + pad);
  EXPECT_EQ(remedy(kLlama7b, with_group(128), {1, 3}),
            "serve on 1 GPUs; no group size and no padding helps for the others");
  EXPECT_EQ(remedy(kLlama7b, with_group(128), {5}), "no group size and no padding helps");
}

// A remedy that is taken must be one: the test of the test above.
TEST(Serving, RemediesHelp) {
  model::ModelConfig padded = kQwen72b;
  padded.intermediate = 29696;
  for (const int gpus : {1, 2, 4, 8}) {
    EXPECT_THAT(check(padded, with_group(128), gpus).refusals, IsEmpty());
    EXPECT_THAT(check(padded, with_group(128), gpus).slower, IsEmpty());
  }
  for (const int gpus : {1, 2, 4}) EXPECT_THAT(check(kQwen72b, with_group(32), gpus).refusals, IsEmpty());
}

TEST(Serving, WidthIsTheLeastThatMarlinTakes) {
  const std::vector<int> one = {1}, eight = {1, 2, 4, 8}, odd = {2, 3};
  EXPECT_EQ(serving_width(29568, 128, eight), 29696);  // what Qwen published its 72B AWQ checkpoint with
  EXPECT_EQ(serving_width(29568, 128, one), 29568);
  EXPECT_EQ(serving_width(29568, 32, eight), 29696);
  EXPECT_EQ(serving_width(1, 64, odd), 768);
  EXPECT_EQ(serving_width(100, -1, one), 128);
  EXPECT_EQ(serving_width(100, 96, one), 384);  // whole groups and whole tiles
  const std::vector<int> primes = {997, 991, 983}, none = {0}, many = {1 << 20};
  EXPECT_THROW(serving_width(100, 128, primes), Error);
  EXPECT_THROW(serving_width(100, 128, none), Error);
  EXPECT_THROW(serving_width(100, 128, many), Error);
  EXPECT_THROW(serving_width(100, 0, one), Error);
}

TEST(Serving, HeadsAreSharedOutOrRepeated) {
  EXPECT_THAT(check(kLlama8b, with_group(128), 16).refusals, IsEmpty());  // 8 key-value heads, each on two GPUs
  const auto refusals = check(kLlama8b, with_group(128), 12).refusals;
  EXPECT_THAT(refusals, IsSupersetOf({"32 attention heads cannot be shared out",
                                      "8 key-value heads can be neither shared out nor repeated"}));
}

TEST(Serving, WordsOfCodesStayWhole) {
  const model::ModelConfig odd = model_of(4096, 1000 * 8, 32, 32);
  EXPECT_THAT(check(odd, with_group(32), 16).refusals,
              IsSupersetOf({"mlp.gate_proj: 8000 outputs do not make 16 equal shares of whole words of 8 codes"}));
  EXPECT_THAT(check(odd, with_group(32), 8).slower, SizeIs(1)) << "gate and up are one linear";
}

TEST(Serving, OneGroupARowIsCutByCompressedTensorsOnly) {
  EXPECT_THAT(check(kLlama8b, with_group(-1), 1).refusals, IsEmpty());
  EXPECT_THAT(check(kLlama8b, with_group(-1), 2).refusals,
              ElementsAre("self_attn.o_proj: one group a row (--group-size -1) cannot be cut",
                          "mlp.down_proj: one group a row (--group-size -1) cannot be cut"));
  EXPECT_THAT(check(kLlama8b, with_group(-1, Layout::kCompressedTensors), 2).refusals, IsEmpty());
  EXPECT_EQ(remedy(kLlama8b, with_group(-1), {2}), "quantize with --group-size 128");
}

TEST(Serving, LayoutsThatTheEnginesMisread) {
  EXPECT_THAT(check(kLlama8b, with_group(128, Layout::kGemv), 1).refusals, ElementsAre(HasSubstr("write gemm")));
  EXPECT_THAT(check(kLlama8b, with_group(128, Layout::kCompressedTensorsSym), 8).refusals, IsEmpty());
}

TEST(Serving, PartsOfAFusedLinearGoTogether) {
  const auto without = [](std::string_view name) {
    return IsPacked([=](const std::string& module) { return module.find(name) == std::string::npos; });
  };
  EXPECT_THAT(
      check(kLlama8b, with_group(128), 1, without("k_proj")).refusals,
      ElementsAre("self_attn.q_proj is in 4 bits and self_attn.k_proj is not, and they are fused: quantize both "
                  "or neither"));
  EXPECT_THAT(check(kLlama8b, with_group(128), 1, without("self_attn")).refusals, IsEmpty());
  EXPECT_THAT(check(kQwen72b, with_group(128), 2, without("down_proj")).refusals, IsEmpty());
  EXPECT_THAT(check(kQwen72b, with_group(128), 2, without("layers.0.mlp.down_proj")).refusals, SizeIs(1));
}

TEST(Serving, NumbersOfGpusOutOfRange) {
  for (const int gpus : {0, -1, 1025}) EXPECT_THROW(check(kLlama8b, with_group(128), gpus), Error) << gpus;
}

}  // namespace
}  // namespace awq::format
