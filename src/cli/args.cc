#include "cli/args.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "awq/error.h"
#include "cli/numbers.h"
#include "cli/terminal.h"

namespace awq::cli {
namespace {

using SetText = std::function<void(const std::string&)>;

std::vector<std::string> split(std::string_view names) { return CLI::detail::split(std::string(names), ','); }

void check_range(double value, Range allowed, std::string_view typed) {
  if (value >= allowed.min && value <= allowed.max) return;
  const bool open_above = allowed.max > 1e15;
  throw Error(ErrorKind::kUsage, open_above
                                     ? fmt::format("{} is too small: at least {}", typed, allowed.min)
                                     : fmt::format("{} is out of range: {} to {}", typed, allowed.min, allowed.max));
}

std::string quoted(const std::string& word) {
  const bool plain = !word.empty() && word.find_first_of(" \t\n'\"\\$&|;<>()*?") == std::string::npos;
  return plain ? word : "'" + word + "'";
}

}  // namespace

struct Args::Impl {
  CLI::App app;
  HelpPage page;
  std::vector<std::string> words;
  std::vector<std::pair<std::string, CLI::Option*>> required;
  std::string section = "options", command_line;
  CommonOptions common;
  bool only_describe = false;

  // Registers the row and hands the last value given to `set`, whose Error learns which option it was.
  void add(OptionRow row, SetText set) {
    row.section = section;
    const std::string name = row.spellings.front();
    CLI::Option* option = app.add_option_function<std::string>(
        CLI::detail::join(row.spellings, ","), [name, set = std::move(set)](const std::string& value) {
          with_context([&] { return "reading the value of " + name; }, [&] { set(value); });
        });
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)->envname(row.environment());
    page.options.push_back(std::move(row));
  }

  bool asks_for_help() const {
    const auto rest = std::ranges::find(words, "--");
    return std::any_of(words.begin(), rest, [](const std::string& w) { return w == "--help" || w == "-h"; });
  }

  Error usage_error(const std::string& what) const {
    return Error(ErrorKind::kUsage, fmt::format("{}; see awq {} --help", what, page.command));
  }

  Error unknown_option(const std::string& word) const {
    std::vector<std::string> known;
    for (const OptionRow& row : page.options) known.insert(known.end(), row.spellings.begin(), row.spellings.end());
    const std::string typed = word.substr(0, word.find('='));
    const std::string meant = nearest(typed, known);
    if (meant.empty()) return usage_error("unknown option " + typed);
    return Error(ErrorKind::kUsage, fmt::format("unknown option {}, did you mean {}?", typed, meant));
  }

  void parse() {
    try {
      app.parse(std::vector<std::string>(words.rbegin(), words.rend()));  // CLI11 takes them from the back
    } catch (const CLI::ParseError& error) {
      throw usage_error(error.what());
    }
    std::vector<std::string> extras = app.remaining();
    std::erase(extras, "--");
    const auto rest = std::ranges::find(words, "--");  // what follows is never an option
    const auto unknown = std::ranges::find_if(
        extras, [&](const std::string& w) { return w.starts_with('-') && std::find(words.begin(), rest, w) != rest; });
    if (unknown != extras.end()) throw unknown_option(*unknown);
    for (const auto& [name, option] : required) {
      if (option->count() == 0) throw usage_error(name + " is missing");
    }
    if (!extras.empty()) throw usage_error(fmt::format("unexpected argument '{}'", extras.front()));
  }
};

Args::Args(std::string_view command, std::string_view summary, std::vector<std::string> words, bool only_describe)
    : impl_(std::make_unique<Impl>()) {
  impl_->page.command = command;
  impl_->page.summary = summary;
  impl_->only_describe = only_describe;
  impl_->command_line = fmt::format("awq {}", command);
  for (const std::string& word : words) impl_->command_line += " " + quoted(word);
  impl_->words = std::move(words);
  impl_->app.set_help_flag("");
  impl_->app.allow_extras();
}
Args::~Args() = default;

void Args::about(std::string text) { impl_->page.about = std::move(text); }
void Args::example(std::string line, std::string what) {
  impl_->page.examples.push_back({std::move(line), std::move(what)});
}
void Args::section(std::string title) { impl_->section = std::move(title); }

void Args::positional(std::string_view names, std::string& value, std::string help, bool required) {
  OptionRow row{.spellings = split(names), .help = std::move(help), .default_text = value, .required = required};
  // CLI11 knows a positional by its lack of dashes.
  CLI::Option* option = impl_->app.add_option_function<std::string>(
      CLI::detail::join(row.spellings, ","), [&value](const std::string& given) { value = given; });
  if (required) impl_->required.emplace_back(row.spellings[0], option);
  impl_->page.positionals.push_back(std::move(row));
}

void Args::flag(std::string_view names, bool& value, std::string help, bool sets_to) {
  OptionRow row{.section = impl_->section, .spellings = split(names), .help = std::move(help)};
  std::vector<std::string> positive, negative;  // "!--zero_point" says the opposite of the flag it is listed with
  for (std::string& spelling : row.spellings) {
    (spelling.starts_with('!') ? negative : positive).push_back(spelling.substr(spelling.starts_with('!')));
    spelling = spelling.substr(spelling.starts_with('!'));
  }
  const auto add = [&](const std::vector<std::string>& group, bool to) {
    return impl_->app.add_flag_function(CLI::detail::join(group, ","), [&value, to](int64_t times) {
      if (times > 0) value = to;
    });
  };
  add(positive, sets_to)->envname(row.environment());
  if (!negative.empty()) add(negative, !sets_to);
  row.negations = std::move(negative);
  impl_->page.options.push_back(std::move(row));
}

void Args::text(std::string_view names, std::string metavar, std::string& value, std::string help) {
  impl_->add({.spellings = split(names), .metavar = std::move(metavar), .help = std::move(help), .default_text = value},
             [&value](const std::string& given) { value = given; });
}

void Args::texts(std::string_view names, std::string metavar, std::vector<std::string>& values, std::string help) {
  OptionRow row{
      .section = impl_->section, .spellings = split(names), .metavar = std::move(metavar), .help = std::move(help)};
  impl_->app
      .add_option_function<std::vector<std::string>>(CLI::detail::join(row.spellings, ","),
                                                     [&values](const std::vector<std::string>& all) { values = all; })
      ->allow_extra_args(false)  // one value each time, so that it does not swallow what follows
      ->envname(row.environment());
  impl_->page.options.push_back(std::move(row));
}

void Args::whole_number(std::string_view names, std::string metavar, std::string now, std::function<void(int64_t)> set,
                        std::string help, Range allowed) {
  impl_->add({.spellings = split(names),
              .metavar = std::move(metavar),
              .help = std::move(help),
              .default_text = std::move(now)},
             [set = std::move(set), allowed](const std::string& typed) {
               const int64_t value = parse_count(typed);
               check_range(static_cast<double>(value), allowed, typed);
               set(value);
             });
}

void Args::real(std::string_view names, std::string metavar, float& value, std::string help, Range allowed) {
  impl_->add({.spellings = split(names),
              .metavar = std::move(metavar),
              .help = std::move(help),
              .default_text = fmt::format("{}", value)},
             [&value, allowed](const std::string& typed) {
               const double given = parse_real(typed);
               check_range(given, allowed, typed);
               value = static_cast<float>(given);
             });
}

void Args::fraction(std::string_view names, std::string metavar, double& value, std::string help, Range allowed) {
  impl_->add({.spellings = split(names),
              .metavar = std::move(metavar),
              .help = std::move(help),
              .default_text = value == 0 ? "" : fmt::format("{}", value)},
             [&value, allowed](const std::string& typed) {
               value = parse_fraction(typed);
               check_range(value, allowed, typed);
             });
}

void Args::one_of(std::string_view names, std::vector<std::string> choices, std::string now,
                  std::function<void(size_t)> set, std::string help) {
  const std::string list = fmt::format("{}", fmt::join(choices, "|"));
  impl_->add({.spellings = split(names),
              .metavar = list,
              .help = std::move(help),
              .default_text = std::move(now),
              .choices = choices},
             [set = std::move(set), choices, list](const std::string& typed) {
               const std::string lower = CLI::detail::to_lower(typed);  // AutoAWQ's scripts write GEMM
               const auto row = std::ranges::find(choices, lower);
               if (row == choices.end())
                 throw Error(ErrorKind::kUsage, fmt::format("'{}' is not one of {}", typed, list));
               set(static_cast<size_t>(row - choices.begin()));
             });
}

void Args::finish() {
  section("output and messages");
  flag("--json", impl_->common.json, "print the answer as JSON (schema_version 1) on standard output");
  flag("-q,--quiet", impl_->common.quiet, "no notes and no progress on standard error; warnings and errors remain");
  flag("-v,--verbose", impl_->common.verbose, "more notes on standard error");
  flag("--debug", impl_->common.debug, "add to an error where in the program it was found");
  impl_->page.options.push_back({.section = impl_->section, .spellings = {"-h", "--help"}, .help = "print this page"});
  if (impl_->only_describe) throw Finished{};
  if (impl_->asks_for_help()) {
    answer(render(impl_->page));
    throw Finished{};
  }
  impl_->parse();
  set_quiet(impl_->common.quiet);
}

const CommonOptions& Args::common() const { return impl_->common; }
const HelpPage& Args::page() const { return impl_->page; }
const std::string& Args::command_line() const { return impl_->command_line; }

}  // namespace awq::cli
