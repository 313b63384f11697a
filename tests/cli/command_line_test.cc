// The surface of the program: help, versions, mistakes, exit codes, which stream says what.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/process.h"

namespace awq::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kDemo = AWQ_SOURCE_DIR "/models/demo";

struct Page {
  const char* command;
  const char* first_lines;
};
void PrintTo(const Page& page, std::ostream* out) { *out << page.command; }

constexpr Page kPages[] = {
    {"quantize",
     "awq quantize: make a 4-bit AWQ checkpoint from a Hugging Face checkpoint\n\nusage: awq quantize [options] MODEL "
     "OUT\n"},
    {"eval",
     "awq eval: perplexity of a checkpoint, and its distance from the original\n\nusage: awq eval [options] MODEL\n"},
    {"generate", "awq generate: continue a prompt\n\nusage: awq generate [options] MODEL\n"},
    {"inspect",
     "awq inspect: what is in a checkpoint: formats, sizes, bits per weight\n\nusage: awq inspect [options] MODEL\n"},
    {"convert", "awq convert: rewrite an AWQ checkpoint in another layout\n\nusage: awq convert [options] MODEL OUT\n"},
    {"devices",
     "awq devices: devices of this machine, and which kernels each can run\n\nusage: awq devices [options]\n"},
    {"bench",
     "awq bench: latency of a single query for each kernel version; kernel timings\n\nusage: awq bench [options] "
     "[MODEL]\n"},
    {"env", "awq env: what a bug report should contain about this machine\n\nusage: awq env [options]\n"},
    {"completion", "awq completion: print a completion script for bash\n\nusage: awq completion [options] [SHELL]\n"},
    {"help", "awq help: list the commands, or explain one\n\nusage: awq help [options] [COMMAND]\n"},
};

class EveryCommand : public testing::TestWithParam<Page> {};

TEST_P(EveryCommand, HelpTeaches) {
  const Result result = awq_run({GetParam().command, "--help"});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.out, StartsWith(GetParam().first_lines));
  EXPECT_THAT(result.out, HasSubstr("examples:\n  awq " + std::string(GetParam().command)));
  EXPECT_THAT(result.out, HasSubstr("exit codes:\n"));
  EXPECT_EQ(result.err, "");
}

TEST_P(EveryCommand, RefusesAnUnknownOptionAndNamesTheNearest) {
  const Result result = awq_run({GetParam().command, "--jsn"});
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err, "error: unknown option --jsn, did you mean --json?\n");
}

TEST_P(EveryCommand, IsListed) {
  EXPECT_THAT(awq_run({"help"}).out, HasSubstr("\n  " + std::string(GetParam().command) + " "));
}

INSTANTIATE_TEST_SUITE_P(Cli, EveryCommand, testing::ValuesIn(kPages),
                         [](const auto& row) { return std::string(row.param.command); });

TEST(CommandLine, EveryListedCommandHasItsPageHere) {
  std::istringstream lines(awq_run({"help"}).out);
  size_t listed = 0;
  for (std::string line; std::getline(lines, line);) listed += line.starts_with("  ") ? 1 : 0;
  EXPECT_EQ(listed, std::size(kPages));
}

TEST(CommandLine, WithoutACommandItListsThemAndFails) {
  const Result result = awq_run({});
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("quantize"));
}

TEST(CommandLine, UnknownCommand) {
  const Result near = awq_run({"quantise"});
  EXPECT_EQ(near.code, 2);
  EXPECT_EQ(near.err, "error: unknown command 'quantise', did you mean quantize?\n");
  EXPECT_THAT(awq_run({"frobnicate"}).err, HasSubstr("awq help lists them"));
}

TEST(CommandLine, TellsItsVersion) {
  for (const char* word : {"--version", "version", "-V"}) {
    const Result result = awq_run({word});
    EXPECT_EQ(result.code, 0);
    EXPECT_THAT(result.out, testing::MatchesRegex("awq [0-9]+\\.[0-9]+\\.[0-9]+ \\(commit .*\\)\n"));
  }
}

TEST(CommandLine, HelpWinsOverOtherMistakes) { EXPECT_EQ(awq_run({"quantize", "--bits", "x", "--help"}).code, 0); }

struct Mistake {
  std::vector<std::string> words;
  const char* says;
};

TEST(CommandLine, MistakesAreUsageErrors) {
  const Mistake rows[] = {
      {{"quantize"}, "MODEL is missing"},
      {{"quantize", "m"}, "OUT is missing"},
      {{"quantize", "m", "o", "extra"}, "unexpected argument 'extra'"},
      {{"quantize", "m", "o", "--", "--other"}, "unexpected argument '--other'"},
      {{"quantize", "m", "o", "--bits"}, "--bits"},
      {{"quantize", "m", "o", "--bits", ""}, "'' is not a number"},
      {{"quantize", "m", "o", "--bits", "nan"}, "'nan' is not a number"},
      {{"quantize", kDemo, "o", "--group-size", "0"}, "group size 0: choose 32, 64, 128"},
      {{"quantize", kDemo, "o", "--group-size", "-2"}, "out of range"},
      {{"quantize", kDemo, "o", "--group-size", "33"}, "group size 33: choose 32, 64, 128"},
      {{"quantize", "m", "o", "--group-size", "1e300"}, "not a whole number"},
      {{"quantize", "m", "o", "--group-size", "1099511627776"}, "out of range"},
      {{"quantize", kDemo, "o", "--keep-fp16", "4%"}, "choose 0.1 % to 3 %"},
      {{"quantize", kDemo, "o", "--keep-fp16", "0.0005"}, "choose 0.1 % to 3 %"},
      {{"quantize", kDemo, "o", "--bits", "3"}, "bits = 3"},
      {{"quantize", "m", "o", "--search", "best"}, "'best' is not one of both|duo|paper|none"},
      {{"quantize", "m", "o", "--version", "marlin"}, "'marlin' is not one of gemm|gemv|gemv_fast"},
      {{"quantize", "m", "o", "--seed", "-1"}, "--seed"},
      {{"eval", "m", "--max-kl", "0.1"}, "--max-kl needs --against"},
      {{"eval", "m", "--window", "1"}, "out of range"},
      {{"completion", "tcsh"}, "only bash"},
      {{"help", "frobnicate"}, "unknown command"},
      {{"bench"}, "MODEL is missing"},
  };
  for (const Mistake& row : rows) {
    const Result result = awq_run(row.words);
    EXPECT_EQ(result.code, 2) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, StartsWith("error: "));
    EXPECT_THAT(result.err, HasSubstr(row.says));
  }
}

TEST(CommandLine, TenThousandArgumentsAreAMistakeLikeAnother) {
  EXPECT_EQ(awq_run(std::vector<std::string>(10'000, "inspect")).code, 2);
}

TEST(CommandLine, ArgumentsNeedNotBeUtf8) {
  const Result result = awq_run({"inspect", "\xff\xfe", "--json"});
  EXPECT_EQ(result.code, 3) << result.err;
  EXPECT_TRUE(json::accept(result.out)) << result.out;
}

TEST(CommandLine, AFailureUnderJsonIsJson) {
  const Result result = awq_run({"quantize", "m", "o", "--bits", "x", "--json"});
  const json answer = json::parse(result.out);
  EXPECT_EQ(answer["schema_version"], 1);
  EXPECT_EQ(answer["error"]["exit_code"], 2);
  EXPECT_THAT(result.err, StartsWith("error: "));
}

TEST(CommandLine, JsonSaysWhichToolAndCommandLine) {
  const json answer = json::parse(awq_run({"env", "--json"}).out);
  EXPECT_EQ(answer["schema_version"], 1);
  EXPECT_EQ(answer["tool"], "awq");
  EXPECT_EQ(answer["command_line"], "awq env --json");
  EXPECT_TRUE(answer.contains("version"));
  EXPECT_TRUE(answer.contains("devices"));
}

TEST(CommandLine, TheEnvironmentSetsOptionsAndTheCommandLineWins) {
  RunOptions options;
  options.environment = {"AWQ_SEARCH=nonsense"};
  EXPECT_THAT(awq_run({"quantize", "m", "o"}, options).err, HasSubstr("'nonsense' is not one of"));
  EXPECT_THAT(awq_run({"quantize", "m", "o", "--search", "duo"}, options).err, testing::Not(HasSubstr("nonsense")));
}

TEST(CommandLine, ColoursOnlyWhereWanted) {
  RunOptions forced;
  forced.environment = {"CLICOLOR_FORCE=1"};
  EXPECT_THAT(awq_run({"frobnicate"}, forced).err, HasSubstr("\033["));
  forced.environment.push_back("NO_COLOR=1");
  EXPECT_THAT(awq_run({"frobnicate"}, forced).err, testing::Not(HasSubstr("\033[")));
}

TEST(CommandLine, ANumberInATurkishLocaleIsTheSameNumber) {
  RunOptions options;
  options.environment = {"LC_ALL=tr_TR.UTF-8"};
  EXPECT_EQ(awq_run({"env", "--json"}, options).code, 0);
}

TEST(CommandLine, AFullDiskUnderTheAnswerIsAnError) {
  RunOptions options;
  options.out_file = "/dev/full";
  const Result result = awq_run({"env"}, options);
  EXPECT_EQ(result.code, 4);
  EXPECT_THAT(result.err, HasSubstr("cannot write the answer"));
}

TEST(CommandLine, CompletionIsValidBash) {
  const Result result = awq_run({"completion", "bash"});
  EXPECT_THAT(result.out, HasSubstr("complete -o filenames -F _awq awq"));
  EXPECT_THAT(result.out, HasSubstr("--group-size"));
}

std::string file_text(const char* path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST(CommandLine, ReadmeNamesEveryKernel) {
  const std::string readme = file_text(AWQ_SOURCE_DIR "/README.md");
  const json answer = json::parse(awq_run({"devices", "--json"}).out);
  for (const json& row : answer["devices"][0]["problems"][0]["kernels"]) {
    EXPECT_THAT(readme, HasSubstr("`" + row["name"].get<std::string>() + "`"));
  }
}

TEST(CommandLine, DocsCliMdIsTheHelp) {
  EXPECT_TRUE(file_text(AWQ_SOURCE_DIR "/docs/cli.md") == awq_run({"help", "--markdown"}).out)
      << "run: awq help --markdown > docs/cli.md";
}

}  // namespace
}  // namespace awq::test
