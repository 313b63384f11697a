// Parses and prints; see make_checkpoint.h for what it does and why.
#include <getopt.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "awq/error.h"
#include "make_checkpoint.h"

namespace {

constexpr const char* kHelp =
    R"(make_checkpoint --like NAME OUT [options]

Writes a Hugging Face checkpoint of a published model's shape with random weights: for timing, memory and disk, and for
trials without a download. The text it generates is noise. Weights are normal, 1 / sqrt(inputs) wide, norms near 1;
0.5 % of the channels are outliers, 16 times the others, as large models have them. The same seed gives the same bytes
on every machine and for any number of threads.

  --like NAME      llama3-8b, llama2-7b, qwen2.5-7b, mistral-7b, llama3-70b, or tiny (2 blocks, 1.7M parameters)
  --layers N       only the first N blocks, the same bytes as in the whole model     (all)
  --dtype T        bf16 or f16                                                       (bf16)
  --quantized      an AWQ checkpoint (gemm, groups of 128) of random codes, in seconds: for timing what runs it
  --seed N         other weights                                                     (0)
  --shard-bytes B  size of a weights file at most                                    (5000000000)
  --threads N      0 = all cores                                                     (0)
  --force          replace an existing output
  --help           this text

Examples:
  make_checkpoint --like tiny out/tiny                      # seconds: does my setup work?
  make_checkpoint --like llama3-8b out/llama3-8b            # 16.1 GB
  make_checkpoint --like llama3-70b --layers 8 out/70b-8    # 17.9 GB instead of 141
  make_checkpoint --like llama3-8b --quantized --dtype f16 out/llama3-8b-awq   # 5.7 GB, for awq bench
  awq quantize out/llama3-8b out/llama3-8b-awq --dry-run

Exit codes: 0 done, 2 usage, 4 no room on the disk, 6 the output exists, 1 anything else.
)";

[[noreturn]] void usage(const std::string& what) {
  throw awq::Error(awq::ErrorKind::kUsage, what + "; see make_checkpoint --help");
}

template <class Number>
void parse(const char* option, const char* text, Number& value) {
  const char* end = text + std::strlen(text);
  if (const auto [stop, error] = std::from_chars(text, end, value); error != std::errc() || stop != end)
    usage(std::string("--") + option + " " + text + " is not a number it can be");
}

void parse_layers(const char* text, int64_t& layers) {
  parse("layers", text, layers);
  if (layers < 1) usage("--layers " + std::string(text) + ": keep at least one");
}

awq::Dtype parse_dtype(std::string_view text) {
  if (text == "bf16") return awq::Dtype::kBF16;
  if (text == "f16") return awq::Dtype::kF16;
  usage("--dtype " + std::string(text) + " is neither bf16 nor f16");
}

// False: --help was asked for.
bool parse(int argc, char** argv, awq::tools::MakeOptions& options) {
  const option kOptions[] = {{"like", required_argument, nullptr, 'l'},
                             {"layers", required_argument, nullptr, 'n'},
                             {"dtype", required_argument, nullptr, 'd'},
                             {"seed", required_argument, nullptr, 's'},
                             {"shard-bytes", required_argument, nullptr, 'b'},
                             {"threads", required_argument, nullptr, 't'},
                             {"quantized", no_argument, nullptr, 'q'},
                             {"force", no_argument, nullptr, 'F'},
                             {"help", no_argument, nullptr, 'h'},
                             {}};
  opterr = 0;
  for (int c; (c = getopt_long(argc, argv, "h", kOptions, nullptr)) != -1;) {
    switch (c) {
      case 'h': return false;
      case 'l': options.like = optarg; break;
      case 'n': parse_layers(optarg, options.layers); break;
      case 'd': options.dtype = parse_dtype(optarg); break;
      case 's': parse("seed", optarg, options.seed); break;
      case 'b': parse("shard-bytes", optarg, options.max_shard_bytes); break;
      case 't': parse("threads", optarg, options.threads); break;
      case 'q': options.quantized = true; break;
      case 'F': options.force = true; break;
      default: usage(std::string(argv[optind - 1]) + " is not an option, or lacks its value");
    }
  }
  if (argc - optind != 1) usage("give one folder to create");
  if (options.like.empty()) usage("--like is missing");
  options.out = argv[optind];
  return true;
}

void print_shard(const std::string& file, uint64_t bytes) {
  std::fprintf(stderr, "%s: %.1f MB\n", file.c_str(), static_cast<double>(bytes) * 1e-6);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    awq::tools::MakeOptions options;
    if (!parse(argc, argv, options)) return std::fputs(kHelp, stdout) < 0;
    options.on_shard = print_shard;
    const auto start = std::chrono::steady_clock::now();
    const awq::tools::MakeReport report = awq::tools::make_checkpoint(options);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::printf("%s: like %s, %lld blocks, %.1fM parameters, %.1f MB in %d files, %.1f s\n", options.out.c_str(),
                options.like.c_str(), static_cast<long long>(report.layers),
                static_cast<double>(report.parameters) * 1e-6, static_cast<double>(report.bytes) * 1e-6, report.files,
                seconds.count());
    return 0;
  } catch (const awq::Error& e) {
    std::fprintf(stderr, "make_checkpoint: %s\n", e.what());
    return static_cast<int>(e.kind());
  }
}
