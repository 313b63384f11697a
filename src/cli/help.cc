#include <fmt/format.h>

#include "awq/error.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "cli/version.h"

namespace awq::cli {

std::string command_list() {
  std::string text = "awq: 4-bit AWQ quantization of language models\n\nusage: awq COMMAND [options]\n\n";
  for (const Command& row : commands()) text += fmt::format("  {:<12}{}\n", row.name, row.summary);
  return text +
         "\nawq COMMAND --help explains a command with examples; awq --version tells the version.\n"
         "First steps:  awq quantize MODEL OUT,  then  awq eval OUT --text FILE --against MODEL\n";
}

HelpPage describe(const Command& command) {
  Args args(command.name, command.summary, {}, true);
  try {
    command.run(args);
  } catch (const Finished&) {  // thrown by finish(), once everything is declared
  }
  return args.page();
}

int run_help(Args& args) {
  std::string name;
  bool markdown = false;
  args.positional("COMMAND", name, "the command to explain; all of them are listed when absent", false);
  args.flag("--markdown", markdown, "every command's page as docs/cli.md");
  args.example("awq help quantize", "the same as awq quantize --help");
  args.finish();
  if (markdown) {
    std::string text = "# Command line reference\n\nWritten by `awq help --markdown`; a test keeps it so.\n";
    for (const Command& row : commands())
      text += fmt::format("\n## awq {}\n\n```\n{}```\n", row.name, render(describe(row)));
    answer(text);
    return 0;
  }
  if (name.empty()) {
    answer(command_list());
    return 0;
  }
  const Command* command = find_command(name);
  if (command == nullptr)
    throw Error(ErrorKind::kUsage, fmt::format("unknown command '{}'; awq help lists them", name));
  answer(render(describe(*command)));
  return 0;
}

}  // namespace awq::cli
