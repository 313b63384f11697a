#include <algorithm>

#include "cli/command.h"

namespace awq::cli {
namespace {

constexpr Command kCommands[] = {
    {"quantize", "make a 4-bit AWQ checkpoint from a Hugging Face checkpoint", run_quantize},
    {"eval", "perplexity of a checkpoint, and its distance from the original", run_eval},
    {"generate", "continue a prompt", run_generate},
    {"inspect", "what is in a checkpoint: formats, sizes, bits per weight", run_inspect},
    {"convert", "rewrite an AWQ checkpoint in another layout", run_convert},
    {"devices", "devices of this machine, and which kernels each can run", run_devices},
    {"bench", "latency of a single query for each kernel version; kernel timings", run_bench},
    {"env", "what a bug report should contain about this machine", run_env},
    {"completion", "print a completion script for bash", run_completion},
    {"help", "list the commands, or explain one", run_help},
};

}  // namespace

std::span<const Command> commands() { return kCommands; }

const Command* find_command(std::string_view name) {
  const auto row = std::ranges::find(kCommands, name, &Command::name);
  return row == std::end(kCommands) ? nullptr : row;
}

}  // namespace awq::cli
