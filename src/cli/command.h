// One row a subcommand; `awq help`, the dispatcher, shell completion and docs/cli.md all walk this table.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "cli/option_row.h"

namespace awq::cli {

class Args;

struct Command {
  std::string_view name;
  std::string_view summary;
  int (*run)(Args&);  // declares its options, calls Args::finish(), works; returns the exit code
};

std::span<const Command> commands();
const Command* find_command(std::string_view name);
std::string command_list();         // what `awq help` prints
HelpPage describe(const Command&);  // its options, without running it

int run_quantize(Args&);
int run_eval(Args&);
int run_generate(Args&);
int run_inspect(Args&);
int run_convert(Args&);
int run_devices(Args&);
int run_bench(Args&);
int run_env(Args&);
int run_completion(Args&);
int run_help(Args&);

}  // namespace awq::cli
