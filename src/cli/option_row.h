// What is known of one option, apart from how it is parsed: enough for --help, completion, suggestions and docs/cli.md.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace awq::cli {

struct OptionRow {
  std::string section = {};                 // heading it is listed under
  std::vector<std::string> spellings = {};  // "-n", "--max-new-tokens"; those with '_' are AutoAWQ's and not listed
  std::string metavar = {};                 // "N"; empty for a flag
  std::string help = {};
  std::string default_text = {};          // empty: nothing worth printing
  std::vector<std::string> choices = {};  // closed list of values, or empty
  bool required = false;
  std::vector<std::string> negations = {};  // those of the spellings that say the opposite: "--no-bos" of "--bos"

  std::vector<std::string> listed() const;  // the spellings that --help shows
  std::string environment() const;          // "AWQ_MAX_NEW_TOKENS"
};

struct Example {
  std::string line, what;
};

struct HelpPage {
  std::string command, summary, about;
  std::vector<OptionRow> positionals;  // spellings[0] is the shown name
  std::vector<OptionRow> options;
  std::vector<Example> examples;
};

std::string render(const HelpPage&);

// The candidate nearest to a mistyped word, or "" when nothing is near enough to be what was meant.
std::string nearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace awq::cli
