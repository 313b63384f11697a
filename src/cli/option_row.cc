#include "cli/option_row.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <numeric>
#include <utility>

namespace awq::cli {
namespace {

constexpr size_t kWidth = 100;      // columns of a help page
constexpr size_t kTextColumn = 30;  // where explanations start

// `text` broken at spaces so that it fits from column `indent` to kWidth; the first line is not indented.
std::string wrap(std::string_view text, size_t indent) {
  std::string out;
  size_t column = indent;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    if (column > indent && column + 1 + end > kWidth) {
      out += '\n';
      out.append(indent, ' ');
      column = indent;
    } else if (column > indent) {
      out += ' ';
      ++column;
    }
    out += text.substr(0, end);
    column += end;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

std::string entry(std::string_view left, std::string_view text) {
  const bool fits = left.size() + 4 <= kTextColumn;
  return fits ? fmt::format("  {:<{}}{}\n", left, kTextColumn - 2, wrap(text, kTextColumn))
              : fmt::format("  {}\n{:{}}{}\n", left, "", kTextColumn, wrap(text, kTextColumn));
}

std::string explanation(const OptionRow& row) {
  std::string text = row.help;
  if (!row.default_text.empty()) text += fmt::format(" (default {})", row.default_text);
  return text;
}

std::string usage_line(const HelpPage& page) {
  std::string line = fmt::format("usage: awq {} [options]", page.command);
  for (const OptionRow& row : page.positionals) {
    line += row.required ? fmt::format(" {}", row.spellings[0]) : fmt::format(" [{}]", row.spellings[0]);
  }
  return line + "\n";
}

constexpr std::string_view kExitCodes =
    "exit codes:\n"
    "  0 done   1 other failure   2 wrong usage   3 invalid or unsupported model, tokenizer or text\n"
    "  4 memory or disk does not suffice   5 device or driver   6 output exists or is in use\n"
    "  7 a check ran and said no   130 interrupted   143 terminated\n";

}  // namespace

std::vector<std::string> OptionRow::listed() const {
  std::vector<std::string> names;
  for (const std::string& spelling : spellings) {
    const bool opposite = std::ranges::find(negations, spelling) != negations.end();
    if (!opposite && spelling.find('_') == std::string::npos) names.push_back(spelling);
  }
  return names;
}

std::string OptionRow::environment() const {
  const auto name = std::ranges::find_if(spellings, [](const std::string& s) { return s.starts_with("--"); });
  if (name == spellings.end()) return {};
  std::string variable = "AWQ_" + name->substr(2);
  std::ranges::transform(variable, variable.begin(),
                         [](unsigned char c) { return c == '-' ? '_' : static_cast<char>(std::toupper(c)); });
  return variable;
}

std::string render(const HelpPage& page) {
  std::string text = fmt::format("awq {}: {}\n\n{}\n", page.command, page.summary, usage_line(page));
  if (!page.about.empty()) text += wrap(page.about, 0) + "\n\n";
  for (const OptionRow& row : page.positionals) text += entry(row.spellings[0], explanation(row));
  std::string section;
  for (const OptionRow& row : page.options) {
    if (row.section != section) text += fmt::format("\n{}:\n", section = row.section);
    const std::string names = fmt::format("{}", fmt::join(row.listed(), ", "));
    text += entry(row.metavar.empty() ? names : fmt::format("{} {}", names, row.metavar), explanation(row));
  }
  if (!page.examples.empty()) text += "\nexamples:\n";
  for (const Example& example : page.examples)
    text += fmt::format("  {}\n      {}\n", example.line, wrap(example.what, 6));
  return text + "\n" +
         wrap(
             "Each option has a twin in the environment, AWQ_ and its name: --group-size is AWQ_GROUP_SIZE. "
             "Numbers may be written 128K or 5GB.",
             0) +
         "\n\n" + std::string(kExitCodes);
}

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  std::string best;
  size_t best_distance = word.size() / 3 + 2;  // more edits than that: another word, not a slip
  for (const std::string& candidate : candidates) {
    std::vector<size_t> row(candidate.size() + 1);  // Levenshtein, one row at a time
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 0; i < word.size(); ++i) {
      size_t diagonal = std::exchange(row[0], i + 1);
      for (size_t j = 0; j < candidate.size(); ++j) {
        const size_t replaced = diagonal + (word[i] != candidate[j]);
        diagonal = row[j + 1];
        row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, replaced});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

}  // namespace awq::cli
