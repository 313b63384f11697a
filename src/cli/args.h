// The options of one subcommand: declared once, each bound to the variable whose present value is its default.
//
//   args.count("--group-size,--q_group_size", "N", options.group, "input features that share a scale");
//   args.finish();  // --help, unknown flags and bad values end here, before any file is opened
//
// Hides CLI11, which takes seconds to compile, in one translation unit.
#pragma once
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/option_row.h"

namespace awq::cli {

// Ends a command early without being an error: --help has been printed.
struct Finished {};

// What every command understands.
struct CommonOptions {
  bool json = false, quiet = false, verbose = false, debug = false;
};

struct Range {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
};

template <class E>
struct Choice {
  std::string_view name;
  E value;
};

class Args {
 public:
  // Throws Finished from finish() when `only_describe`: for completion and documentation.
  Args(std::string_view command, std::string_view summary, std::vector<std::string> words, bool only_describe = false);
  ~Args();
  Args(const Args&) = delete;
  Args& operator=(const Args&) = delete;

  void about(std::string text);
  void example(std::string line, std::string what);
  void section(std::string title);

  // `names`: "-n,--max-new-tokens,--max_new_tokens"; spellings with '_' are accepted and not listed.
  void positional(std::string_view names, std::string& value, std::string help, bool required = true);
  void flag(std::string_view names, bool& value, std::string help, bool sets_to = true);
  void text(std::string_view names, std::string metavar, std::string& value, std::string help);
  void texts(std::string_view names, std::string metavar, std::vector<std::string>& values, std::string help);
  template <class Int>
  void count(std::string_view names, std::string metavar, Int& value, std::string help, Range allowed = {}) {
    const double top = static_cast<double>(std::numeric_limits<Int>::max());
    allowed.max = allowed.max < top ? allowed.max : top;
    if (!std::numeric_limits<Int>::is_signed && allowed.min < 0) allowed.min = 0;
    whole_number(
        names, std::move(metavar), std::to_string(value), [&value](int64_t v) { value = static_cast<Int>(v); },
        std::move(help), allowed);
  }
  void real(std::string_view names, std::string metavar, float& value, std::string help, Range allowed = {});
  void fraction(std::string_view names, std::string metavar, double& value, std::string help, Range allowed = {});
  template <class E>
  void choice(std::string_view names, E& value, std::span<const Choice<E>> rows, std::string help) {
    std::vector<std::string> choices;
    std::string now;
    for (const Choice<E>& row : rows) {
      choices.emplace_back(row.name);
      if (row.value == value) now = row.name;
    }
    one_of(
        names, std::move(choices), std::move(now), [&value, rows](size_t i) { value = rows[i].value; },
        std::move(help));
  }

  void finish();

  const CommonOptions& common() const;
  const HelpPage& page() const;
  const std::string& command_line() const;  // as typed, for reports

 private:
  void whole_number(std::string_view names, std::string metavar, std::string now, std::function<void(int64_t)> set,
                    std::string help, Range allowed);
  void one_of(std::string_view names, std::vector<std::string> choices, std::string now,
              std::function<void(size_t)> set, std::string help);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace awq::cli
