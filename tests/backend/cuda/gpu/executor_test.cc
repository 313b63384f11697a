// Whole models on the GPU through the plugin, as `awq generate --device cuda` runs them: against golden logits computed
// elsewhere, against the CPU, and against themselves in other batches.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <optional>

#include "awq/devices.h"
#include "awq/error.h"
#include "awq/model.h"
#include "run/golden.h"
#include "run/packed_model.h"
#include "run/sampler.h"

namespace awq::test {
namespace {

using testing::HasSubstr;

// "" when a model can run on a GPU here.
std::string why_no_gpu() {
  if (std::filesystem::exists(AWQ_CUDA_PLUGIN_FILE)) setenv("AWQ_CUDA_PLUGIN", AWQ_CUDA_PLUGIN_FILE, 0);
  std::string why = "no GPU is listed";
  for (const DeviceInfo& device : devices()) {
    if (device.kind != DeviceKind::kCuda) continue;
    if (device.unusable.empty()) return "";
    why = device.unusable;
  }
  return why;
}

std::filesystem::path model_folder(const std::string& name) {
  return name == "demo" ? demo_folder() : shared_folder() / "models" / name;
}

struct OnDevice : Loaded {
  OnDevice(const std::filesystem::path& folder, const char* name, backend::ExecutorOptions options = {.slots = 8})
      : Loaded(folder, options, name) {}
};

double relative_distance(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, size = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    size += double{b[i]} * b[i];
  }
  return std::sqrt(difference / size);
}

// A block rounds some ten results to f16, each by at most 2^-11 of itself and 2^-12.3 in root mean square; they are
// independent, so those of all blocks add in squares. Twice that for what softmax and gate amplify.
double half_bound(const model::ModelConfig& c) { return 2 * 0x1p-12 * std::sqrt(10.0 * static_cast<double>(c.layers)); }

std::vector<int32_t> some_tokens(int64_t count, uint32_t seed, int64_t vocab) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<int32_t>((seed = seed * 1664525u + 1013904223u) >> 8) % static_cast<int32_t>(vocab));
  return ids;
}

class Gpu : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
  }
};

class GoldenOnGpu : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
    if (!std::filesystem::exists(folder() / "golden.safetensors"))
      GTEST_SKIP() << "the models with golden logits are not beside this checkout";
    golden_.emplace(folder());
    model_.emplace(folder(), "cuda");
  }
  static std::filesystem::path folder() { return model_folder("arch") / GetParam(); }
  std::span<const float> wanted(int s) const {
    const size_t count = Golden::kTokens * model_->config.vocab;
    return std::span(golden_->logits).subspan(s * count, count);
  }
  std::optional<Golden> golden_;
  std::optional<OnDevice> model_;
};
INSTANTIATE_TEST_SUITE_P(Architectures, GoldenOnGpu,
                         testing::Values("llama", "llama3-rope", "mistral", "qwen2", "qwen3"));

TEST_P(GoldenOnGpu, LogitsOfAPromptAreMet) {
  for (int s = 0; s < Golden::kSequences; ++s) {
    const double distance = relative_distance(model_->forward(s, golden_->sequence(s)), wanted(s));
    EXPECT_LE(distance, half_bound(model_->config));
    RecordProperty("distance", std::to_string(distance));
  }
}

TEST_P(GoldenOnGpu, LogitsTokenByTokenAreMet) {
  std::vector<float> steps;
  for (size_t t = 0; t < Golden::kTokens; ++t)
    for (const float v : model_->forward(3, golden_->sequence(0).subspan(t, 1))) steps.push_back(v);
  EXPECT_LE(relative_distance(steps, wanted(0)), half_bound(model_->config));
}

TEST_P(GoldenOnGpu, ContextsJoinAndLeaveBetweenSteps) {
  const int64_t vocab = model_->config.vocab;
  model_->forward(0, golden_->sequence(0).first(30));
  model_->forward(5, golden_->sequence(1).first(20));
  std::vector<float> got(3 * vocab);
  for (int step = 0; step < 6; ++step) {  // slot 2 joins at step 3, slot 0 leaves there
    std::vector<backend::SequenceInput> inputs = {{5, golden_->sequence(1).subspan(20 + step, 1)}};
    inputs.push_back(step < 3 ? backend::SequenceInput{0, golden_->sequence(0).subspan(30 + step, 1)}
                              : backend::SequenceInput{2, golden_->sequence(0).subspan(step - 3, 1)});
    model_->executor->forward(inputs, {got.data(), 2, vocab});
    const std::span<const float> rows(got);
    EXPECT_LE(relative_distance(rows.first(vocab), wanted(1).subspan((20 + step) * vocab, vocab)),
              half_bound(model_->config));
    EXPECT_LE(relative_distance(rows.subspan(vocab, vocab),
                                wanted(0).subspan((step < 3 ? 30 + step : step - 3) * vocab, vocab)),
              half_bound(model_->config));
  }
  // A prompt beside single tokens.
  const backend::SequenceInput mixed[] = {{7, golden_->sequence(0).first(9)}, {5, golden_->sequence(1).subspan(26, 1)}};
  model_->executor->forward(mixed, {got.data(), 2, vocab});
  EXPECT_LE(relative_distance(std::span(got).first(vocab), wanted(0).subspan(8 * vocab, vocab)),
            half_bound(model_->config));
  EXPECT_LE(relative_distance(std::span(got).subspan(vocab, vocab), wanted(1).subspan(26 * vocab, vocab)),
            half_bound(model_->config));
}

struct PackedCase {
  const char* name;
  int group;
  Layout layout;
  bool zero_point;
  int salient;
  const char* version;
};
void PrintTo(const PackedCase& c, std::ostream* out) { *out << c.name; }

class PackedOnGpu : public testing::TestWithParam<PackedCase> {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
  }
};
INSTANTIATE_TEST_SUITE_P(Kinds, PackedOnGpu,
                         testing::Values(PackedCase{"gemm", 128, Layout::kGemm, true, 0, "auto"},
                                         PackedCase{"gemv", 64, Layout::kGemv, true, 0, "auto"},
                                         PackedCase{"symmetric", 32, Layout::kGemm, false, 0, "auto"},
                                         PackedCase{"salient", 128, Layout::kGemm, true, 3, "auto"},
                                         PackedCase{"forced_gemv", 128, Layout::kGemm, true, 0, "gemv"},
                                         PackedCase{"forced_gemm", 128, Layout::kGemm, true, 2, "gemm"},
                                         PackedCase{"unpacked", 16, Layout::kGemm, true, 1, "auto"}),
                         [](const auto& one) { return std::string(one.param.name); });

TEST_P(PackedOnGpu, IsTheCpusModelOfTheSameCodes) {
  QuantConfig quant;
  quant.group_size = GetParam().group, quant.version = GetParam().layout, quant.zero_point = GetParam().zero_point;
  const PackedDemo demo(quant, GetParam().salient);
  const OnDevice gpu(demo.packed.path(), "cuda", {.version = GetParam().version, .slots = 2});
  const OnDevice cpu(demo.floats.path(), "cpu", {.slots = 2});
  const std::vector<int32_t> ids = some_tokens(70, 3, cpu.config.vocab);
  const std::vector<float> want = cpu.forward(0, ids);
  EXPECT_LE(relative_distance(gpu.forward(0, ids), want), half_bound(cpu.config));
  std::vector<float> steps = gpu.forward(1, std::span(ids).first(60));
  for (size_t t = 60; t < ids.size(); ++t)
    for (const float v : gpu.forward(1, std::span(ids).subspan(t, 1))) steps.push_back(v);
  EXPECT_LE(relative_distance(steps, want), half_bound(cpu.config));
}

class TextOnGpu : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
    if (!std::filesystem::exists(model_folder(GetParam()) / "config.json"))
      GTEST_SKIP() << "this model is not here: it lies beside the repository, in ../shared/models";
  }
};
INSTANTIATE_TEST_SUITE_P(Models, TextOnGpu, testing::Values("demo", "base"));

// The same 64 tokens, or the first that differs is one between which the CPU's logits hardly decide.
TEST_P(TextOnGpu, GreedyTextIsTheCpus) {
  const std::string folder = model_folder(GetParam()).string();
  const Model cpu = Model::load(folder, {.device = "cpu"}), gpu = Model::load(folder, {.device = "cuda"});
  const std::vector<int32_t> prompt = cpu.encode("The first thing that they saw was");
  const SamplingOptions greedy{.max_new_tokens = 64, .stop_at_eos = false};
  const std::vector<int32_t> want = cpu.generate(prompt, greedy), got = gpu.generate(prompt, greedy);
  ASSERT_EQ(got.size(), want.size());
  const auto [w, g] = std::mismatch(want.begin(), want.end(), got.begin());
  if (w == want.end()) return;
  std::vector<int32_t> before = prompt;
  before.insert(before.end(), want.begin(), w);
  const std::vector<float> logits = cpu.logits(before);
  const std::span<const float> last = std::span(logits).last(static_cast<size_t>(cpu.vocab_size()));
  double squares = 0;
  for (const float v : last) squares += double{v} * v;
  EXPECT_LE(last[*w] - last[*g], 4 * 0x1p-9 * std::sqrt(squares / static_cast<double>(last.size())))
      << "token " << w - want.begin() << " differs though the logits decide";
}

TEST_F(Gpu, NextTokensAreTheLargestLogits) {
  const OnDevice model(model_folder("demo"), "cuda"), other(model_folder("demo"), "cuda");
  const std::vector<int32_t> a = some_tokens(90, 5, model.config.vocab), b = some_tokens(33, 6, model.config.vocab);
  std::vector<float> logits(2 * model.config.vocab);
  std::vector<int32_t> ids(2), next_a = a, next_b = b;
  const backend::TokenDraw greedy[2] = {};
  for (int step = 0; step < 20; ++step) {
    const backend::SequenceInput inputs[] = {{1, next_a}, {4, next_b}};
    ASSERT_TRUE(model.executor->next_tokens(inputs, greedy, ids));
    other.executor->forward(inputs, {logits.data(), 2, model.config.vocab});
    for (int s = 0; s < 2; ++s) {
      const auto row = std::span(logits).subspan(s * model.config.vocab, model.config.vocab);
      ASSERT_EQ(ids[s], std::max_element(row.begin(), row.end()) - row.begin()) << "step " << step;
    }
    next_a = {ids[0]}, next_b = {ids[1]};
  }
}

// Contexts that draw in different ways beside one that does not: what run::Sampler draws from the same logits.
TEST_F(Gpu, NextTokensAreTheSamplers) {
  const OnDevice model(model_folder("demo"), "cuda"), other(model_folder("demo"), "cuda");
  const int64_t vocab = model.config.vocab;
  const SamplingOptions options[] = {{.temperature = 0.9f, .top_p = 0.95f, .seed = 3},
                                     {},
                                     {.temperature = 1.5f, .top_k = 40, .seed = 4},
                                     {.temperature = 1, .seed = 5}};
  std::vector<run::Sampler> samplers;
  std::vector<std::vector<int32_t>> tokens;
  for (const SamplingOptions& o : options) {
    samplers.emplace_back(o, vocab);
    tokens.push_back(some_tokens(20 + 7 * std::ssize(tokens), 5 + std::ssize(tokens), vocab));
  }
  std::vector<float> logits(std::size(options) * vocab);
  std::vector<int32_t> ids(std::size(options));
  for (int step = 0; step < 30; ++step) {
    std::vector<backend::SequenceInput> inputs;
    std::vector<backend::TokenDraw> draws;
    for (size_t s = 0; s < tokens.size(); ++s) {
      inputs.push_back({static_cast<int>(s), tokens[s]});
      draws.push_back(samplers[s].next_draw());
    }
    ASSERT_TRUE(model.executor->next_tokens(inputs, draws, ids));
    other.executor->forward(inputs, {logits.data(), std::ssize(tokens), vocab});
    for (size_t s = 0; s < tokens.size(); ++s) {
      ASSERT_EQ(ids[s], samplers[s](std::span(logits).subspan(s * vocab, vocab)))
          << "step " << step << " context " << s;
      tokens[s] = {ids[s]};
    }
  }
}

TEST_F(Gpu, EveryNumberOfContextsGivesWhatOneAloneGives) {
  const OnDevice model(model_folder("demo"), "cuda", {.slots = 70});
  const int64_t vocab = model.config.vocab;
  const std::vector<int32_t> ids = some_tokens(70 * 12, 8, vocab);
  std::vector<float> alone;
  for (int slot = 0; slot < 70; ++slot) {
    const auto prompt = std::span(ids).subspan(slot * 12, 5 + slot % 5);
    model.forward(slot, prompt.first(prompt.size() - 1));
    for (const float v : model.forward(slot, prompt.last(1))) alone.push_back(v);
  }
  for (const int together : {2, 3, 7, 8, 9, 16, 17, 33, 64, 70}) {
    std::vector<backend::SequenceInput> inputs;
    for (int slot = 0; slot < together; ++slot) {
      const auto prompt = std::span(ids).subspan(slot * 12, 5 + slot % 5);
      model.executor->reset(slot);
      model.forward(slot, prompt.first(prompt.size() - 1));
      inputs.push_back({slot, prompt.last(1)});
    }
    std::vector<float> got(together * vocab);
    model.executor->forward(inputs, {got.data(), together, vocab});
    EXPECT_LE(relative_distance(got, std::span(alone).first(got.size())), half_bound(model.config)) << together;
  }
}

TEST_F(Gpu, AStepAllocatesNothingOnceRoomIsReserved) {
  const OnDevice model(model_folder("demo"), "cuda", {.slots = 2, .capacity = 2048});
  const int slot = 1;
  model.executor->reserve({&slot, 1}, 2048);
  const uint64_t before = model.executor->memory_bytes();
  std::vector<int32_t> id = {5};
  const backend::TokenDraw greedy{};
  for (int step = 0; step < 2048; ++step) {
    const backend::SequenceInput input{slot, id};
    std::vector<int32_t> next(1);
    ASSERT_TRUE(model.executor->next_tokens({&input, 1}, {&greedy, 1}, next));
    id = next;
  }
  EXPECT_EQ(model.executor->memory_bytes(), before);
  EXPECT_EQ(model.executor->length(slot), 2048);
}

TEST_F(Gpu, RunsPromptsLongerThanItsBuffersAndForgetsOnReset) {
  const OnDevice model(model_folder("demo"), "cuda", {.slots = 2, .capacity = 5000});
  const std::vector<int32_t> ids = some_tokens(4500, 2, model.config.vocab);
  const backend::SequenceInput last{0, ids};
  std::vector<float> whole(model.config.vocab), parts;
  model.executor->forward({&last, 1}, {whole.data(), 1, model.config.vocab});
  for (size_t at = 0; at < ids.size(); at += 900) parts = model.forward(1, std::span(ids).subspan(at, 900));
  EXPECT_LE(relative_distance(whole, std::span(parts).last(whole.size())), half_bound(model.config));
  model.executor->reset(0);
  EXPECT_EQ(model.executor->length(0), 0);
  std::vector<float> again(model.config.vocab);
  model.executor->forward({&last, 1}, {again.data(), 1, model.config.vocab});
  EXPECT_EQ(again, whole);
}

TEST_F(Gpu, RefusesWhatTheCpuRefuses) {
  const OnDevice model(model_folder("demo"), "cuda", {.capacity = 8});
  const auto refusal = [&](const std::vector<int32_t>& ids) -> std::string {
    try {
      model.forward(0, ids);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
      return e.what();
    }
    return "accepted";
  };
  EXPECT_THAT(refusal({1, 4096}), HasSubstr("token id 4096 is outside the model's vocabulary of 4096"));
  EXPECT_THAT(refusal({-1}), HasSubstr("token id -1"));
  EXPECT_EQ(model.executor->length(0), 0);
  EXPECT_THAT(refusal(std::vector<int32_t>(9, 1)), HasSubstr("a context of 9 tokens exceeds the 8"));
}

}  // namespace
}  // namespace awq::test
