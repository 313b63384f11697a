#include <fmt/format.h>

#include "awq/error.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/terminal.h"

namespace awq::cli {
namespace {

// "quantize) words='--bits --group-size ...' ;;"
std::string case_of(const Command& command) {
  std::string words;
  for (const OptionRow& row : describe(command).options) {
    for (const std::string& spelling : row.listed()) words += fmt::format(" {}", spelling);
  }
  return fmt::format("    {}) words='{}' ;;\n", command.name, words);
}

// "    --layout) words='gemm gemv' ;;": values of the options that have a closed list, over all commands.
std::string values_of(const Command& command) {
  std::string cases;
  for (const OptionRow& row : describe(command).options) {
    if (row.choices.empty()) continue;
    for (const std::string& spelling : row.spellings) {
      cases += fmt::format("    {}:{}) words='{}' ;;\n", command.name, spelling, fmt::join(row.choices, " "));
    }
  }
  return cases;
}

std::string bash_script() {
  std::string names, cases, values;
  for (const Command& row : commands()) {
    names += fmt::format(" {}", row.name);
    cases += case_of(row);
    values += values_of(row);
  }
  return fmt::format(R"(_awq() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} words=''
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '{} --version --help' -- "$current"))
    return
  fi
  case ${{COMP_WORDS[1]}}:$previous in
{}  esac
  if [ -z "$words" ] && [[ $current == -* ]]; then
    case ${{COMP_WORDS[1]}} in
{}    esac
  fi
  if [ -n "$words" ]; then COMPREPLY=($(compgen -W "$words" -- "$current")); else COMPREPLY=($(compgen -f -- "$current")); fi
}}
complete -o filenames -F _awq awq
)",
                     names, values, cases);
}

}  // namespace

int run_completion(Args& args) {
  std::string shell = "bash";
  args.positional("SHELL", shell, "the shell to write for: bash", false);
  args.example("awq completion bash > ~/.local/share/bash-completion/completions/awq", "install it for this user");
  args.finish();
  if (shell != "bash") throw Error(ErrorKind::kUsage, fmt::format("no completion for '{}'; only bash", shell));
  answer(bash_script());
  return 0;
}

}  // namespace awq::cli
