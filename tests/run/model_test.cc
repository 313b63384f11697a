#include "awq/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "awq/error.h"
#include "io/file.h"
#include "packed_model.h"
#include "run/score.h"

namespace awq::test {
namespace {

using testing::HasSubstr;

const Model& demo() {
  static const Model model = Model::load(demo_folder().string());
  return model;
}

const std::string kText =
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, it "
    "was "
    "the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of Darkness.";

template <class Body>
Error error_of(const Body& body) {
  try {
    body();
  } catch (const Error& e) {
    return e;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(ErrorKind::kFailure, "");
}

TEST(Generate, GreedyFollowsTheLargestLogit) {
  const std::vector<int32_t> prompt = demo().encode("The ");
  std::vector<int32_t> want = prompt;
  for (int i = 0; i < 6; ++i) {
    const std::vector<float> logits = demo().logits(want);
    const auto last = logits.end() - demo().vocab_size();
    want.push_back(static_cast<int32_t>(std::max_element(last, logits.end()) - last));
  }
  const std::vector<int32_t> got = demo().generate(prompt, {.max_new_tokens = 6, .stop_at_eos = false});
  EXPECT_EQ(got, std::vector<int32_t>(want.begin() + std::ssize(prompt), want.end()));
}

TEST(Generate, StreamsTheTextItReturns) {
  const std::vector<int32_t> prompt = demo().encode("Once upon a time");
  std::string streamed;
  GenerateTiming timing;
  const SamplingOptions options{
      .max_new_tokens = 40, .temperature = 0.9f, .top_p = 0.95f, .seed = 5, .stop_at_eos = false};
  const std::vector<int32_t> ids = demo().generate(
      prompt, options, [&](std::string_view s) { streamed += s; }, &timing);
  std::vector<int32_t> all = prompt;
  all.insert(all.end(), ids.begin(), ids.end());
  EXPECT_EQ(demo().decode(prompt) + streamed, demo().decode(all));
  EXPECT_EQ(ids, demo().generate(prompt, options)) << "the same seed";
  EXPECT_EQ(timing.prompt_tokens, std::ssize(prompt));
  EXPECT_EQ(timing.new_tokens, 40);
  EXPECT_EQ(timing.token_seconds.size(), 39u);
  EXPECT_GT(timing.first_token_seconds, 0);
}

TEST(Generate, EndsAtAnEndTokenOfGenerationConfig) {
  const std::vector<int32_t> prompt = demo().encode("The ");
  const std::vector<int32_t> free = demo().generate(prompt, {.max_new_tokens = 12, .stop_at_eos = false});
  const auto end = std::find(free.begin(), free.end(), free[7]);  // let the token that came eighth be an end token
  const TempFolder folder;
  for (const auto& file : std::filesystem::directory_iterator(demo_folder()))
    std::filesystem::copy(file, folder.path() / file.path().filename());
  io::write_file(folder.path() / "generation_config.json", "{\"eos_token_id\": [1, " + std::to_string(free[7]) + "]}");
  const Model model = Model::load(folder.path().string());
  EXPECT_EQ(model.generate(prompt, {.max_new_tokens = 12}), std::vector<int32_t>(free.begin(), end + 1));
  EXPECT_EQ(model.generate(prompt, {.max_new_tokens = 12, .stop_at_eos = false}), free);

  io::write_file(folder.path() / "generation_config.json", R"({"eos_token_id": [1, 5000]})");
  EXPECT_THAT(error_of([&] { Model::load(folder.path().string()); }).what(),
              HasSubstr("eos_token_id must be token ids below"));
}

TEST(Generate, StopsWhereTheContextIsFull) {
  std::vector<int32_t> prompt(2046, 17);  // of 2,048 positions
  EXPECT_EQ(demo().generate(prompt, {.max_new_tokens = 50, .stop_at_eos = false}).size(), 3u);
  prompt.resize(2049, 17);
  EXPECT_THAT(error_of([&] { demo().generate(prompt, {}); }).what(),
              HasSubstr("a context of 2049 tokens exceeds the 2048"));
}

TEST(Generate, StopsWhenAsked) {
  std::atomic<int> stop = 0;
  int pieces = 0;
  const auto on_text = [&](std::string_view) { stop = ++pieces >= 3; };
  const auto ids =
      demo().generate(demo().encode("The "), {.max_new_tokens = 500, .stop_at_eos = false}, on_text, nullptr, &stop);
  EXPECT_LT(ids.size(), 100u);
  EXPECT_TRUE(demo().generate(demo().encode("The "), {.max_new_tokens = 0}).empty());
}

TEST(Generate, TellsEachToken) {
  std::vector<int32_t> told;
  SamplingOptions options{.max_new_tokens = 9, .stop_at_eos = false};
  options.on_token = [&](int32_t id) { told.push_back(id); };
  EXPECT_EQ(demo().generate(demo().encode("The "), options), told);
}

TEST(Model, ServesSeveralThreadsAtOnce) {
  const std::vector<std::string> prompts = {"The ", "Once upon a time", "In the beginning", "A man"};
  const SamplingOptions options{.max_new_tokens = 12, .stop_at_eos = false};
  std::vector<std::vector<int32_t>> alone, together(prompts.size());
  for (const std::string& prompt : prompts) alone.push_back(demo().generate(demo().encode(prompt), options));
  const double nll = evaluate(demo(), kText, {.window = 16}).nll;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < prompts.size(); ++i)
    threads.emplace_back([&, i] { together[i] = demo().generate(demo().encode(prompts[i]), options); });
  EXPECT_EQ(evaluate(demo(), kText, {.window = 16}).nll, nll);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, alone);
}

TEST(Evaluate, IsTheProtocolByHand) {
  constexpr int kWindow = 16;
  const EvaluateReport report = evaluate(demo(), kText, {.window = kWindow, .max_windows = 3});
  const std::vector<int32_t> ids = demo().encode(kText, false);
  double nll = 0;
  for (int w = 0; w < 3; ++w) {
    const auto window = std::span(ids).subspan(w * kWindow, kWindow);
    const std::vector<float> logits = demo().logits(window);
    for (int i = 1; i < kWindow; ++i) {
      const auto row = std::span(logits).subspan((i - 1) * demo().vocab_size(), demo().vocab_size());
      nll += run::log_sum_exp(row) - row[window[i]];
    }
  }
  EXPECT_EQ(report.windows, 3);
  EXPECT_EQ(report.scored_tokens, 3u * (kWindow - 1));
  EXPECT_NEAR(report.nll, nll / 45, 1e-5);  // windows run together: sums in another order
  EXPECT_NEAR(report.perplexity, std::exp(nll / 45), 1e-3);
  EXPECT_FALSE(report.compared);
}

TEST(Evaluate, UsesTheFirstCharactersOnly) {
  const std::string text = "\u00e9\u00e9\u00e9\u00e9 " + kText;  // two bytes each: characters are not bytes
  const std::string first = text.substr(0, 8 + 1 + 95);
  const EvaluateOptions cut{.window = 8, .max_windows = 0, .max_chars = 100},
      all{.window = 8, .max_windows = 0, .max_chars = 0};
  EXPECT_EQ(evaluate(demo(), text, cut).nll, evaluate(demo(), first, all).nll);
  EXPECT_LT(evaluate(demo(), text, cut).windows, evaluate(demo(), text, all).windows);
}

TEST(Evaluate, ComparesWithAReference) {
  const Model again = Model::load(demo_folder().string());
  const EvaluateOptions options{.window = 20, .max_windows = 2};
  const EvaluateReport same = evaluate(demo(), kText, options, &again);
  EXPECT_TRUE(same.compared);
  EXPECT_EQ(same.kl, 0);
  EXPECT_EQ(same.top1_agreement, 1);
  EXPECT_EQ(same.reference_perplexity, same.perplexity);

  const PackedDemo files(
      {.bits = 4, .group_size = 64, .zero_point = true, .version = Layout::kGemm, .modules_to_not_convert = {}});
  std::filesystem::copy_file(demo_folder() / "tokenizer.json", files.packed.path() / "tokenizer.json");
  const Model packed = Model::load(files.packed.path().string());
  const EvaluateReport rounded = evaluate(packed, kText, options, &demo());
  EXPECT_GT(rounded.kl, 1e-4);
  EXPECT_LT(rounded.kl, 1);
  EXPECT_GE(rounded.kl_p99, rounded.kl);
  EXPECT_GT(rounded.kl_stderr, 0);
  EXPECT_LT(rounded.top1_agreement, 1);
  EXPECT_NEAR(rounded.reference_perplexity, same.perplexity, 1e-9);
}

TEST(Evaluate, PutsTheFirstTokenInFront) {
  const EvaluateReport with = evaluate(demo(), kText, {.window = 16, .max_windows = 1, .add_bos = true});
  std::vector<int32_t> ids = demo().encode(kText, false);
  ids.resize(16);
  ids.insert(ids.begin(), 0);
  const std::vector<float> logits = demo().logits(ids);
  double nll = 0;
  for (int i = 2; i < 17; ++i) {  // the same 15 tokens as without it, each with one more to its left
    const auto row = std::span(logits).subspan((i - 1) * demo().vocab_size(), demo().vocab_size());
    nll += run::log_sum_exp(row) - row[ids[i]];
  }
  EXPECT_EQ(with.scored_tokens, 15u);
  EXPECT_NEAR(with.nll, nll / 15, 1e-5);
}

TEST(Evaluate, RefusalsSayTheNumbers) {
  const Error shorter = error_of([] { evaluate(demo(), "Too short.", {}); });
  EXPECT_EQ(shorter.kind(), ErrorKind::kBadInput);
  EXPECT_THAT(shorter.what(), HasSubstr("tokens, one window needs 512"));
  EXPECT_EQ(error_of([] { evaluate(demo(), kText, {.window = 1}); }).kind(), ErrorKind::kUsage);
  EXPECT_THAT(error_of([] { evaluate(demo(), kText, {.window = 4096}); }).what(),
              HasSubstr("exceeds the model's context of 2048"));
  EXPECT_EQ(error_of([] { evaluate(demo(), kText, {.window = 16}, &demo()); }).kind(), ErrorKind::kUsage);
  const std::atomic<int> stop = 2;
  EXPECT_EQ(error_of([&] { evaluate(demo(), kText, {.window = 16, .stop = &stop}); }).kind(), ErrorKind::kInterrupted);
}

TEST(Model, SaysWhatIsMissing) {
  const PackedDemo files(
      {.bits = 4, .group_size = 64, .zero_point = true, .version = Layout::kGemm, .modules_to_not_convert = {}});
  const Model model = Model::load(files.packed.path().string());
  EXPECT_EQ(model.logits(std::vector<int32_t>{1, 2, 3}).size(), 3u * model.vocab_size());
  EXPECT_THAT(error_of([&] { model.encode("text"); }).what(), HasSubstr("has no tokenizer.json"));
  EXPECT_EQ(error_of([] { Model::load(demo_folder().string(), {.device = "cuda"}); }).kind(), ErrorKind::kDevice);
}

}  // namespace
}  // namespace awq::test
