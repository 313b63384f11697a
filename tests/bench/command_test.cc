// `awq bench` as a user runs it, on a GPU that is made up: driver, plugin and timings (fake_lab.h).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "cli/process.h"
#include "scratch.h"

namespace awq::test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

Result on_fake_gpu(std::vector<std::string> words) {
  RunOptions options;
  options.environment = {"CUDA_VISIBLE_DEVICES", "AWQ_CUDA_PLUGIN=" FAKE_LAB_PLUGIN, "FAKE_CUDA_DEVICES=NVIDIA H200:90",
                         "LD_LIBRARY_PATH=" FAKE_DRIVER};
  words.insert(words.begin(), "bench");
  return awq_run(words, options);
}

std::string text_of(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

TEST(BenchCommand, MeasuresOnTheGpuThatIsThere) {
  const ScratchFolder folder;
  const auto peers = folder.put("peers.csv", "peer,N,K,M,us,relerr\nturbo,4096,4096,1,2.5,1e-4\n");
  const Result result = on_fake_gpu({"--kernels", "--shapes", "4096x4096", "--m", "1,64", "--csv", folder.path(),
                                     "--html", folder.path(), "--peers", peers, "--progress", "plain"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("NVIDIA H200, 132 multiprocessors"), HasSubstr("    1 *gemv_w4a16_mma_sm80"),
                                HasSubstr("   64 *gemm_"), HasSubstr("a peer is ahead by more than 5 % in 1 cells")));
  EXPECT_THAT(result.err,
              AllOf(HasSubstr("4096x4096, m = 64"), HasSubstr("rows written to "), HasSubstr("charts written to ")));
  EXPECT_THAT(text_of(folder.path() / "nvidia-h200.csv"), HasSubstr("\ncublas_f16,,64,4096,4096,0,"));
  EXPECT_THAT(text_of(folder.path() / "nvidia-h200.html"), HasSubstr("</svg>"));
}

TEST(BenchCommand, AnswersInJson) {
  const Result kernels =
      on_fake_gpu({"--kernels", "--device", "cuda:0", "--shapes", "llama3-8b", "--m", "1", "--json"});
  EXPECT_EQ(kernels.code, 0) << kernels.err;
  const json answer = json::parse(kernels.out);
  EXPECT_EQ(answer["gpu"], "NVIDIA H200");
  EXPECT_EQ(answer["rows"].size(), 12u);  // 4 linears; gemv, gemm and cuBLAS
  const Result query = on_fake_gpu({"--single-query", "--json"});
  EXPECT_EQ(query.code, 0) << query.err;
  EXPECT_EQ(json::parse(query.out)["rows"].size(), 7u);  // 1 to 64 requests
}

TEST(BenchCommand, SingleQueryRecommends) {
  const Result result = on_fake_gpu({"--single-query", "--shapes", "llama2-7b", "-q"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(result.out, AllOf(HasSubstr("llama2-7b on NVIDIA H200"), HasSubstr("Leave --version at auto")));
}

// The whole model, on the CPU that is there.
TEST(BenchCommand, AModelIsTimedForEachPromptBatchAndVersion) {
  const std::string model = AWQ_SOURCE_DIR "/models/demo";
  for (const std::vector<std::string>& turns : {std::vector<std::string>{}, {"--in-turn"}}) {
    std::vector<std::string> words = {"bench",    model, "--device",       "cpu",       "--prompt",   "8,16",
                                      "--batch",  "1,2", "--version",      "gemm,auto", "--generate", "4",
                                      "--repeat", "3",   "--cell-seconds", "0.000001",  "--json",     "-q"};
    words.insert(words.end(), turns.begin(), turns.end());
    const Result result = awq_run(words);
    ASSERT_EQ(result.code, 0) << result.err;
    const json answer = json::parse(result.out);
    ASSERT_EQ(answer["versions"].size(), 8u);
    std::set<std::string> cells;
    for (const json& cell : answer["versions"]) {
      cells.insert(cell["version"].get<std::string>() + cell["prompt_tokens"].dump() + "," + cell["batch"].dump());
      EXPECT_EQ(cell["first_token_seconds"].size(), 1u) << "--cell-seconds had passed";
      EXPECT_EQ(cell["token_seconds"].size(), 3u);
    }
    EXPECT_EQ(cells.size(), 8u);
    EXPECT_EQ(answer["best_forced"].size(), 4u);
  }
}

TEST(BenchCommand, AModelsContextHoldsPromptAndNewTokens) {
  const Result result = awq_run(
      {"bench", AWQ_SOURCE_DIR "/models/demo", "--device", "cpu", "--prompt", "8,2040", "--generate", "9", "-q"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("2040 prompt tokens and 9 new ones exceed the model's context of 2048"));
}

TEST(BenchCommand, UsageErrorsComeBeforeMeasuring) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"--kernels", "--shapes", "4096by4096"}, "'4096by4096' is not a shape"},
      {{"--kernels", "--m", "0"}, "'0' is not a number of tokens"},
      {{"--kernels", "--shapes", "64x96"}, "k = 96 is not a multiple of the group 128"},
      {{"--single-query", "--shapes", "gpt5"}, "no shapes are known for 'gpt5'"},
      {{"--single-query", "--kernels"}, "are two runs"},
      {{"--single-query", "--device", "cpu"}, "compares the kernels of a GPU"},
      {{"--kernels", "--device", "cpu", "--html", "x.html"}, "are for kernels of GPUs"},
  };
  for (const auto& [words, sentence] : cases) {
    const Result result = on_fake_gpu(words);
    EXPECT_EQ(result.code, 2) << sentence;
    EXPECT_THAT(result.err, HasSubstr(sentence));
  }
  EXPECT_EQ(on_fake_gpu({"--kernels", "--peers", "/no/such.csv"}).code, 3);
  EXPECT_EQ(on_fake_gpu({"--kernels", "--device", "cuda:1"}).code, 5);
}

}  // namespace
}  // namespace awq::test
