#include "cli/option_row.h"

#include <gtest/gtest.h>

namespace awq::cli {
namespace {

const std::vector<std::string> kNames = {"--group-size", "--bits", "--seed", "--samples", "-n"};

TEST(Nearest, FindsASlipOfTheKeyboard) {
  EXPECT_EQ(nearest("--grup-size", kNames), "--group-size");
  EXPECT_EQ(nearest("--bit", kNames), "--bits");
  EXPECT_EQ(nearest("--smaples", kNames), "--samples");
}

TEST(Nearest, IsSilentAboutAnotherWord) { EXPECT_EQ(nearest("--temperature", kNames), ""); }

TEST(OptionRow, ListsKebabCaseAndNotTheOpposite) {
  const OptionRow row{.spellings = {"--sym", "--zero_point", "--no-zero_point"},
                      .negations = {"--zero_point", "--no-zero_point"}};
  EXPECT_EQ(row.listed(), std::vector<std::string>{"--sym"});
}

TEST(OptionRow, HasATwinInTheEnvironment) {
  const OptionRow row{.spellings = {"-n", "--max-new-tokens"}};
  EXPECT_EQ(row.environment(), "AWQ_MAX_NEW_TOKENS");
}

TEST(Render, WrapsAndAligns) {
  const HelpPage page{.command = "eval",
                      .summary = "a summary",
                      .about = "",
                      .positionals = {},
                      .options = {{.section = "options",
                                   .spellings = {"--window"},
                                   .metavar = "N",
                                   .help = std::string(60, 'a') + " " + std::string(20, 'b'),
                                   .default_text = "512"}},
                      .examples = {}};
  const std::string text = render(page);
  EXPECT_NE(text.find("  --window N                  " + std::string(60, 'a') + "\n" + std::string(30, ' ') +
                      std::string(20, 'b') + " (default 512)\n"),
            std::string::npos)
      << text;
}

}  // namespace
}  // namespace awq::cli
