// Finds the command, runs it, and turns whatever goes wrong into a sentence and an exit code.
#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <string>
#include <vector>

#include "awq/error.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/json_answer.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "cli/version.h"

namespace awq::cli {
namespace {

bool contains(const std::vector<std::string>& words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}

int exit_code(ErrorKind kind) {
  return kind == ErrorKind::kInterrupted ? exit_code_of_signal() : static_cast<int>(kind);
}

int report_failure(int code, const std::string& text, const std::vector<std::string>& words) {
  show_error(text);
  if (contains(words, "--json")) answer(json_failure(code, text));
  return code;
}

const Command& command_named(const std::string& word) {
  if (const Command* command = find_command(word)) return *command;
  std::vector<std::string> names;
  for (const Command& row : commands()) names.emplace_back(row.name);
  const std::string meant = nearest(word, names);
  throw Error(ErrorKind::kUsage, meant.empty() ? fmt::format("unknown command '{}'; awq help lists them", word)
                                               : fmt::format("unknown command '{}', did you mean {}?", word, meant));
}

int run(std::vector<std::string> words) {
  if (words.empty()) {
    note(command_list());
    return static_cast<int>(ErrorKind::kUsage);
  }
  const std::string first = words.front();
  if (first == "--version" || first == "-V" || first == "version") {
    answer(version_text());
    return 0;
  }
  const Command& command = command_named(first == "--help" || first == "-h" ? "help" : first);
  words.erase(words.begin());
  Args args(command.name, command.summary, std::move(words));
  return command.run(args);
}

// The one catch site of the program.
int guarded_run(const std::vector<std::string>& words) {
  try {
    const int code = run(words);
    finish_answer();
    return code;
  } catch (const Finished&) {
    return 0;
  } catch (const Error& error) {
    const std::string where = contains(words, "--debug") ? fmt::format("\n  found at {}", error.where()) : "";
    return report_failure(exit_code(error.kind()), error.what() + where, words);
  } catch (const std::bad_alloc&) {
    return report_failure(static_cast<int>(ErrorKind::kNoRoom), "host memory does not suffice", words);
  } catch (const std::exception& error) {
    return report_failure(static_cast<int>(ErrorKind::kFailure),
                          fmt::format("{}; this is a bug of awq, please report it", error.what()), words);
  }
}

}  // namespace
}  // namespace awq::cli

int main(int argc, char** argv) {
  awq::cli::ignore_write_signals();
  return awq::cli::guarded_run({argv + std::min(argc, 1), argv + argc});
}
