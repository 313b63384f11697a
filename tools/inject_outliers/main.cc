// Parses and prints; see inject_outliers.h for what it does and why.
#include <getopt.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "awq/error.h"
#include "inject_outliers.h"

namespace {

constexpr const char* kHelp =
    R"(inject_outliers MODEL OUT [options]

Gives a small model the outlier channels of a large one, function unchanged: some channels of each norm's weight
(input_layernorm, post_attention_layernorm) times a power of two, the matching columns of q, k, v / gate, up divided by
it. Quantizing the result shows what activation-aware scaling is for. Writes a new checkpoint; inject_outliers.json in it
lists the channels.

  --fraction X   share of each norm's channels, at least one     (0.01)
  --factor N     a power of two                                  (32)
  --seed N       chooses the channels                            (0)
  --force        replace an existing output
  --help         this text

Example, and then the comparison it is made for:
  inject_outliers models/demo out/demo-outliers
  awq quantize out/demo-outliers out/rtn --search none --no-clip
  awq quantize out/demo-outliers out/awq
)";

[[noreturn]] void usage(const std::string& what) {
  throw awq::Error(awq::ErrorKind::kUsage, what + "; see inject_outliers --help");
}

template <class Number>
void parse(const char* option, const char* text, Number& value) {
  const char* end = text + std::strlen(text);
  if (const auto [stop, error] = std::from_chars(text, end, value); error != std::errc() || stop != end)
    usage(std::string("--") + option + " " + text + " is not a number it can be");
}

// False: --help was asked for.
bool parse(int argc, char** argv, awq::tools::InjectOptions& options) {
  const option kOptions[] = {{"fraction", required_argument, nullptr, 'f'}, {"factor", required_argument, nullptr, 'x'},
                             {"seed", required_argument, nullptr, 's'},     {"force", no_argument, nullptr, 'F'},
                             {"help", no_argument, nullptr, 'h'},           {}};
  opterr = 0;
  for (int c; (c = getopt_long(argc, argv, "h", kOptions, nullptr)) != -1;) {
    if (c == 'h')
      return false;
    else if (c == 'f')
      parse("fraction", optarg, options.fraction);
    else if (c == 'x')
      parse("factor", optarg, options.factor);
    else if (c == 's')
      parse("seed", optarg, options.seed);
    else if (c == 'F')
      options.force = true;
    else
      usage(std::string(argv[optind - 1]) + " is not an option, or lacks its value");
  }
  if (argc - optind != 2) usage("give a checkpoint and a folder to create");
  options.model = argv[optind];
  options.out = argv[optind + 1];
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    awq::tools::InjectOptions options;
    if (!parse(argc, argv, options)) return std::fputs(kHelp, stdout) < 0;
    size_t channels = 0;
    const awq::tools::Channels chosen = awq::tools::inject_outliers(options);
    for (const auto& [norm, list] : chosen) channels += list.size();
    std::printf("%s: %zu channels of %zu norms times %d\n", options.out.c_str(), channels, chosen.size(),
                options.factor);
    return 0;
  } catch (const awq::Error& e) {
    std::fprintf(stderr, "inject_outliers: %s\n", e.what());
    return static_cast<int>(e.kind());
  }
}
