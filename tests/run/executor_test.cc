#include "backend/cpu/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "awq/error.h"
#include "golden.h"

namespace awq::test {
namespace {

using testing::HasSubstr;

// The same sums in another order: a logit is a chain of layers * 12 stages, each a sum of at most 1,408 products of
// values near 1 whose relative rounding is 2^-24; the square root because roundings of both signs meet.
double reordering_bound(const model::ModelConfig& c) {
  return static_cast<double>(c.layers) * 12 * std::sqrt(static_cast<double>(c.intermediate)) * 0x1p-24 * 8;
}

class GoldenLogits : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(arch_folder(GetParam()) / "golden.safetensors"))
      GTEST_SKIP() << "the models with golden logits are not beside this checkout";
  }
};
INSTANTIATE_TEST_SUITE_P(Architectures, GoldenLogits,
                         testing::Values("llama", "llama3-rope", "mistral", "qwen2", "qwen3"));

TEST_P(GoldenLogits, AreMetWithin2e3) {  // computed elsewhere in float32 from the same bf16 weights
  const Golden golden(arch_folder(GetParam()));
  const Loaded model(arch_folder(GetParam()));
  for (int s = 0; s < Golden::kSequences; ++s) {
    const auto want = std::span(golden.logits)
                          .subspan(s * Golden::kTokens * model.config.vocab, Golden::kTokens * model.config.vocab);
    const double error = largest_difference(model.forward(s, golden.sequence(s)), want);
    EXPECT_LE(error, 2e-3);
    RecordProperty("largest_error", std::to_string(error));
  }
}

TEST_P(GoldenLogits, AreMetTokenByToken) {
  const Golden golden(arch_folder(GetParam()));
  const Loaded model(arch_folder(GetParam()));
  const std::vector<float> whole = model.forward(0, golden.sequence(0));
  std::vector<float> steps;
  for (size_t t = 0; t < Golden::kTokens; ++t)
    for (const float v : model.forward(1, golden.sequence(0).subspan(t, 1))) steps.push_back(v);
  EXPECT_EQ(model.executor->length(1), Golden::kTokens);
  EXPECT_LE(largest_difference(whole, steps), reordering_bound(model.config));
}

TEST_P(GoldenLogits, DoNotDependOnWhoElseIsInTheBatch) {
  const Golden golden(arch_folder(GetParam()));
  const Loaded model(arch_folder(GetParam()));
  const int64_t vocab = model.config.vocab;
  const std::vector<float> first = model.forward(0, golden.sequence(0)), second = model.forward(1, golden.sequence(1));
  model.executor->reset(0);
  model.executor->reset(1);
  // Different contexts: sequence 0 is 30 tokens ahead when both go on together.
  model.forward(0, golden.sequence(0).first(30));
  const backend::SequenceInput both[] = {{0, golden.sequence(0).subspan(30), true}, {1, golden.sequence(1), false}};
  std::vector<float> got(19 * vocab);
  model.executor->forward(both, {got.data(), 19, vocab});
  EXPECT_LE(largest_difference(std::span(got).first(18 * vocab), std::span(first).subspan(30 * vocab)),
            reordering_bound(model.config));
  EXPECT_LE(largest_difference(std::span(got).subspan(18 * vocab), std::span(second).subspan(47 * vocab)),
            reordering_bound(model.config));
}

class DemoModel : public testing::Test {
 protected:
  static std::filesystem::path folder() { return std::filesystem::path(AWQ_SOURCE_DIR) / "models" / "demo"; }
  static std::vector<int32_t> ids(int64_t count, uint32_t seed) {
    std::vector<int32_t> out;
    for (int64_t i = 0; i < count; ++i)
      out.push_back(static_cast<int32_t>((seed = seed * 1664525u + 1013904223u) >> 20));
    return out;  // 12 bits: the demo model has 4,096 tokens
  }
};

TEST_F(DemoModel, ForgetsOnReset) {
  const Loaded model(folder());
  const std::vector<int32_t> tokens = ids(20, 1);
  const std::vector<float> once = model.forward(0, tokens);
  model.executor->reset(0);
  EXPECT_EQ(model.executor->length(0), 0);
  EXPECT_EQ(model.forward(0, tokens), once);
}

TEST_F(DemoModel, RunsPromptsLongerThanItsBuffers) {
  const Loaded model(folder(), {.slots = 2, .capacity = 3000});
  const std::vector<int32_t> tokens = ids(2600, 2);  // more than the 2,048 rows in flight at most
  const backend::SequenceInput last{0, tokens, false};
  std::vector<float> whole(model.config.vocab), parts;
  model.executor->forward({&last, 1}, {whole.data(), 1, model.config.vocab});
  for (size_t at = 0; at < tokens.size(); at += 650) parts = model.forward(1, std::span(tokens).subspan(at, 650));
  const auto end = std::span(parts).last(model.config.vocab);
  EXPECT_LE(largest_difference(whole, end), 4 * reordering_bound(model.config));  // logits of a trained model reach 20
}

TEST_F(DemoModel, DoesNotDependOnThreads) {
  const Loaded one(folder(), {.threads = 1}), three(folder(), {.threads = 3});
  EXPECT_EQ(one.forward(0, ids(70, 3)), three.forward(0, ids(70, 3)));
  EXPECT_EQ(one.forward(0, ids(1, 4)), three.forward(0, ids(1, 4)));
}

TEST_F(DemoModel, NamesTheTokenThatIsNotInTheVocabulary) {
  const Loaded model(folder());
  for (const int32_t bad : {4096, -1}) {
    try {
      model.forward(0, std::vector<int32_t>{1, bad});
      FAIL() << "accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
      EXPECT_THAT(e.what(),
                  HasSubstr("token id " + std::to_string(bad) + " is outside the model's vocabulary of 4096"));
      EXPECT_THAT(e.what(), HasSubstr("the tokenizer of another model?"));
    }
  }
  EXPECT_EQ(model.executor->length(0), 0) << "a refused call must leave no trace";
}

TEST_F(DemoModel, RefusesMoreContextThanItsCapacity) {
  const Loaded model(folder(), {.capacity = 8});
  model.forward(0, ids(6, 5));
  try {
    model.forward(0, ids(3, 6));
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
    EXPECT_THAT(e.what(), HasSubstr("a context of 9 tokens exceeds the 8"));
  }
}

TEST_F(DemoModel, CountsTheBytesOfAToken) {
  const Loaded model(folder());
  const model::ModelConfig& c = model.config;
  const int64_t linear =
      2 * c.hidden * c.heads * c.head_dim + 2 * c.hidden * c.kv_heads * c.head_dim + 3 * c.hidden * c.intermediate;
  const int64_t norms = (2 * c.layers + 1) * c.hidden;
  EXPECT_EQ(model.executor->weight_bytes(),
            static_cast<uint64_t>(2 * (c.layers * linear + c.vocab * c.hidden) + 4 * norms));
  EXPECT_THAT(model.executor->kernels(), HasSubstr("dot_bfloat16"));
}

}  // namespace
}  // namespace awq::test
