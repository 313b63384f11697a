// The main job through the real program, on a model of two small blocks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/process.h"
#include "cli/tiny_model.h"

namespace awq::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using Words = std::vector<std::string>;

constexpr int kLinears = 14;  // two blocks of q, k, v, o, gate, up, down

Words quantize_words(const TinyModel& tiny, const std::string& out, const Words& more = {}) {
  Words words = {"quantize", tiny.model(), out,  "--calib",      tiny.text(), "--samples",
                 "4",        "--seqlen",   "32", "--group-size", "32"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

json parsed(const Result& result) {
  EXPECT_EQ(result.code, 0) << result.err;
  return json::parse(result.out);
}

// Every file of a folder by name, apart from the time it took.
std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder))
    files[entry.path().filename().string()] = read_bytes(entry.path());
  return files;
}

size_t entries(const fs::path& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), {}));
}

class QuantizedTiny : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    tiny_ = std::make_unique<TinyModel>();
    quantized_ = std::make_unique<Result>(awq_run(quantize_words(*tiny_, tiny_->out())));
  }
  static void TearDownTestSuite() { tiny_.reset(), quantized_.reset(); }

  static std::unique_ptr<TinyModel> tiny_;
  static std::unique_ptr<Result> quantized_;
};
std::unique_ptr<TinyModel> QuantizedTiny::tiny_;
std::unique_ptr<Result> QuantizedTiny::quantized_;

TEST_F(QuantizedTiny, ReportIsOnStandardOutputAndProgressOnTheOther) {
  EXPECT_EQ(quantized_->code, 0) << quantized_->err;
  EXPECT_THAT(quantized_->out, HasSubstr("bits per weight"));
  EXPECT_THAT(quantized_->out, HasSubstr("awq eval " + tiny_->out()));
  EXPECT_THAT(quantized_->err, HasSubstr("2/2"));
  EXPECT_THAT(quantized_->err, testing::Not(HasSubstr("bits per weight")));
}

TEST_F(QuantizedTiny, IsACheckpointAndNothingElseWasLeft) {
  const json config = json::parse(read_bytes(tiny_->out() + "/config.json"));
  EXPECT_EQ(config["quantization_config"]["quant_method"], "awq");
  EXPECT_EQ(config["quantization_config"]["group_size"], 32);
  EXPECT_TRUE(fs::exists(tiny_->out() + "/tokenizer.json"));
  EXPECT_EQ(entries(tiny_->root()), 3u) << "model, out and the text; no work folder";
}

TEST_F(QuantizedTiny, AnExistingOutputNeedsForce) {
  const Result refused = awq_run(quantize_words(*tiny_, tiny_->out()));
  EXPECT_EQ(refused.code, 6);
  EXPECT_THAT(refused.err, HasSubstr("--force"));
  const auto before = contents(tiny_->out());
  const Result forced = awq_run(quantize_words(*tiny_, tiny_->out(), {"--force", "-q"}));
  EXPECT_EQ(forced.code, 0) << forced.err;
  EXPECT_EQ(forced.out, tiny_->out() + "\n") << "-q leaves the path alone";
  EXPECT_EQ(forced.err, "");
  EXPECT_EQ(contents(tiny_->out()), before);
}

TEST_F(QuantizedTiny, AutoAwqSpellingsMeanTheSame) {
  const std::string other = (tiny_->root() / "autoawq").string();
  const Result result = awq_run({"quantize", "--model_path", tiny_->model(), "--quant_path", other, "--w_bit", "4",
                                 "--q_group_size", "32", "--zero_point", "--version", "GEMM", "--max_calib_samples",
                                 "4", "--calib_data", tiny_->text(), "--max_calib_seq_len", "32"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(contents(other), contents(tiny_->out()));
  fs::remove_all(other);
}

TEST_F(QuantizedTiny, JsonReportHoldsEveryLinear) {
  const std::string other = (tiny_->root() / "json").string();
  const json report = parsed(awq_run(quantize_words(*tiny_, other, {"--json", "--progress", "none"})));
  ASSERT_EQ(report["linears"].size(), kLinears);
  for (const json& linear : report["linears"]) EXPECT_LE(linear["loss"], linear["rtn_loss"]) << linear["name"];
  fs::remove_all(other);
}

TEST_F(QuantizedTiny, ProgressAsJsonEvents) {
  const std::string other = (tiny_->root() / "events").string();
  const Result result = awq_run(quantize_words(*tiny_, other, {"--progress", "json"}));
  std::istringstream lines(result.err);
  int events = 0;
  for (std::string line; std::getline(lines, line); ++events) EXPECT_EQ(json::parse(line)["event"], "progress") << line;
  EXPECT_GT(events, 2);
  fs::remove_all(other);
}

TEST_F(QuantizedTiny, DryRunWritesNothing) {
  const std::string other = (tiny_->root() / "dry").string();
  const Result result = awq_run(quantize_words(*tiny_, other, {"--dry-run"}));
  EXPECT_EQ(result.code, 0) << result.err;
  for (const char* words : {"nothing was written", "memory", "disk", "stays fp16"})
    EXPECT_THAT(result.out, HasSubstr(words));
  EXPECT_EQ(entries(tiny_->root()), 3u);
}

TEST_F(QuantizedTiny, InspectFindsTheLinears) {
  const json info = parsed(awq_run({"inspect", tiny_->out(), "--json"}));
  int quantized = 0;
  for (const json& module : info["modules"]) quantized += module["quantized"] ? 1 : 0;
  EXPECT_EQ(quantized, kLinears);
  EXPECT_EQ(info["layout"], "gemm");
  EXPECT_NEAR(info["quantized_bits_per_weight"], 4 + 16.0 / 32 + 4.0 / 32, 1e-9);  // code, scale, zero point
  EXPECT_EQ(info["warnings"].size(), 0u);
}

TEST_F(QuantizedTiny, InspectTellsWhereItCanBeServed) {
  const Result fine = awq_run({"inspect", tiny_->out(), "--serve-tp", "1,2", "--json"});
  EXPECT_EQ(fine.code, 0);
  EXPECT_EQ(json::parse(fine.out)["serving"].size(), 2u);
  const Result refused = awq_run({"inspect", tiny_->out(), "--summary", "--serve-tp", "1,4"});
  EXPECT_EQ(refused.code, 7);
  EXPECT_THAT(refused.out, HasSubstr("no: 2 attention heads cannot be shared out"));
  EXPECT_THAT(refused.out, HasSubstr("remedy: serve on 1 GPUs"));
  EXPECT_EQ(awq_run({"inspect", tiny_->model(), "--serve-tp", "1"}).code, 3) << "not quantized";
  EXPECT_EQ(awq_run({"inspect", tiny_->out(), "--serve-tp", "0"}).code, 2);
  EXPECT_EQ(awq_run({"inspect", tiny_->out(), "--serve-tp", "two"}).code, 2);
}

TEST_F(QuantizedTiny, ServingIsCheckedBeforeAnyWork) {
  const std::string other = (tiny_->root() / "serve").string();
  const Result refused = awq_run(quantize_words(*tiny_, other, {"--serve-tp", "1,4"}));
  EXPECT_EQ(refused.code, 3);
  EXPECT_THAT(refused.err, HasSubstr("could not serve this on so many GPUs: 4: 2 attention heads"));
  for (const char* width : {"127", "-1", "wide", ""}) {
    const Result wrong = awq_run(quantize_words(*tiny_, other, {"--dry-run", "--pad-intermediate", width}));
    EXPECT_EQ(wrong.code, *width ? 2 : 0) << width;
  }
  EXPECT_FALSE(fs::exists(other));
  EXPECT_EQ(awq_run(quantize_words(*tiny_, other, {"--serve-tp", "1,2", "--pad-intermediate", "auto"})).code, 0);
  EXPECT_EQ(json::parse(read_bytes(other + "/config.json"))["intermediate_size"], 256);
  EXPECT_EQ(awq_run({"generate", other, "-p", "The ", "-n", "3", "-q"}).code, 0);
  fs::remove_all(other);
}

TEST_F(QuantizedTiny, ConvertThereAndBackIsTheSameFile) {
  const std::string gemv = (tiny_->root() / "gemv").string(), back = (tiny_->root() / "back").string();
  EXPECT_EQ(awq_run({"convert", tiny_->out(), gemv, "--to", "gemv"}).code, 0);
  EXPECT_EQ(parsed(awq_run({"inspect", gemv, "--json"}))["layout"], "gemv");
  EXPECT_EQ(awq_run({"convert", gemv, back, "--to", "gemm"}).code, 0);
  EXPECT_EQ(read_bytes(back + "/model.safetensors"), read_bytes(tiny_->out() + "/model.safetensors"));
  fs::remove_all(gemv), fs::remove_all(back);
}

TEST_F(QuantizedTiny, EvalComparesWithTheOriginal) {
  RunOptions piped;
  piped.input = read_bytes(tiny_->text());
  const json same =
      parsed(awq_run({"eval", tiny_->model(), "--window", "64", "--against", tiny_->model(), "--json"}, piped));
  EXPECT_NEAR(same["kl"], 0, 1e-9);
  EXPECT_EQ(same["top1_agreement"], 1);
  const json awq =
      parsed(awq_run({"eval", tiny_->out(), "--window", "64", "--against", tiny_->model(), "--json"}, piped));
  EXPECT_GT(awq["kl"], 0);
  EXPECT_EQ(awq["reference_perplexity"], same["perplexity"]);
}

TEST_F(QuantizedTiny, EvalExitsWithSevenWhenACheckSaysNo) {
  RunOptions piped;
  piped.input = read_bytes(tiny_->text());
  const Result result =
      awq_run({"eval", tiny_->out(), "--window", "64", "--against", tiny_->model(), "--max-kl", "1e-9"}, piped);
  EXPECT_EQ(result.code, 7);
  EXPECT_THAT(result.out, HasSubstr("KL, mean")) << "the figures come before the verdict";
  EXPECT_THAT(result.err, HasSubstr("is above --max-kl"));
}

TEST_F(QuantizedTiny, EvalOfNoTextIsRefused) { EXPECT_EQ(awq_run({"eval", tiny_->out()}).code, 3); }

TEST_F(QuantizedTiny, GenerateIsRepeatable) {
  const Words words = {"generate", tiny_->out(), "-p", "The ", "-n", "12", "--temperature", "1", "--seed", "7", "-q"};
  const Result first = awq_run(words);
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(first.err, "");
  EXPECT_GT(first.out.size(), 1u);
  EXPECT_EQ(awq_run(words).out, first.out);
}

TEST_F(QuantizedTiny, GenerateReadsAPipeAndTimesOnStandardError) {
  RunOptions piped;
  piped.input = "The ";
  const Result result = awq_run({"generate", tiny_->out(), "-n", "4"}, piped);
  EXPECT_THAT(result.err, HasSubstr("tokens/s"));
  EXPECT_EQ(result.out, awq_run({"generate", tiny_->out(), "-p", "The ", "-n", "4"}).out);
}

TEST_F(QuantizedTiny, GenerateEndsQuietlyWhenItsReaderDoes) {
  RunOptions closed;
  closed.reader_is_gone = true;
  const Result result = awq_run({"generate", tiny_->out(), "-p", "The ", "-n", "400", "--ignore-eos", "-q"}, closed);
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.err, "");
}

TEST_F(QuantizedTiny, GenerateRefusesAnUnknownKernel) {
  const Result result = awq_run({"generate", tiny_->out(), "-p", "The ", "--version", "marlin"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("marlin"));
}

TEST_F(QuantizedTiny, BenchPutsTheVersionsSideBySide) {
  const Words words = {"bench", tiny_->out(), "--prompt", "8", "--generate", "4", "--repeat", "1"};
  const Result text = awq_run(words);
  EXPECT_EQ(text.code, 0) << text.err;
  for (const char* word : {"gemv", "gemm", "auto", "p99", "best when forced"}) EXPECT_THAT(text.out, HasSubstr(word));
  Words as_json = words;
  as_json.emplace_back("--json");
  const json report = parsed(awq_run(as_json));
  ASSERT_EQ(report["versions"].size(), 3u);
  for (const json& version : report["versions"]) EXPECT_EQ(version["token_seconds"].size(), 3u);
}

struct Interruption {
  int signal, code;
};

class Interrupted : public testing::TestWithParam<Interruption> {};

TEST_P(Interrupted, ResumesToTheSameBytes) {
  const TinyModel tiny;
  const std::string whole = (tiny.root() / "whole").string();
  const Words more = {"--samples", "64", "--seqlen", "128", "--progress", "plain"};
  ASSERT_EQ(awq_run(quantize_words(tiny, whole, more)).code, 0);

  RunOptions options;
  options.signal = GetParam().signal;
  options.signal_when = "1/2";  // the first block is done
  const Result stopped = awq_run(quantize_words(tiny, tiny.out(), more), options);
  EXPECT_EQ(stopped.code, GetParam().code) << stopped.err;
  EXPECT_THAT(stopped.err, HasSubstr("--resume"));
  EXPECT_FALSE(fs::exists(tiny.out()));

  Words again = quantize_words(tiny, tiny.out(), more);
  again.emplace_back("--resume");
  EXPECT_EQ(awq_run(again).code, 0);
  EXPECT_EQ(contents(tiny.out()), contents(whole));
}

INSTANTIATE_TEST_SUITE_P(Cli, Interrupted, testing::Values(Interruption{SIGINT, 130}, Interruption{SIGTERM, 143}),
                         [](const auto& row) { return row.param.signal == SIGINT ? "SIGINT" : "SIGTERM"; });

}  // namespace
}  // namespace awq::test
