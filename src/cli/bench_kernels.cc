#include "cli/bench_kernels.h"

#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "awq/error.h"
#include "cli/args.h"
#include "cli/json_answer.h"
#include "cli/numbers.h"
#include "cli/terminal.h"
#include "cli/version.h"

namespace awq::cli {
namespace {

// "1,8,512"
std::vector<int64_t> parse_tokens(const std::string& text) {
  std::vector<int64_t> tokens;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    tokens.push_back(parse_count(part));
    if (tokens.back() < 1) throw Error(ErrorKind::kUsage, fmt::format("--tokens {}: at least 1", part));
  }
  if (tokens.empty()) throw Error(ErrorKind::kUsage, "--tokens is empty: give numbers such as 1,8,512");
  return tokens;
}

}  // namespace

void declare_kernel_bench(Args& args, KernelBenchRequest& request) {
  args.section("kernel timings, without a model");
  args.flag("--kernels", request.wanted,
            "time single linears with cold weights, beside this machine's read bandwidth and oneDNN's float32 product");
  args.text("--shapes", "NxK,...", request.shapes, "output x input features");
  args.text("--tokens", "M,...", request.tokens, "tokens at once");
  args.count("--group-size,--group,--q_group_size", "N", request.options.group, "as for quantize", {-1, 1 << 20});
  args.flag("--every-row", request.options.every_row, "also the kernels of lesser instruction sets");
  args.text("--csv", "PATH", request.options.csv, "write the rows to a file, or to a folder under the name of the CPU");
}

int run_kernel_bench(const Args& args, KernelBenchRequest& request, int threads) {
  bench::KernelBenchOptions& options = request.options;
  options.shapes = bench::parse_shapes(request.shapes);
  options.m = parse_tokens(request.tokens);
  options.threads = threads;
  options.commit = version_commit();
  options.json = args.common().json;
  std::ostringstream text;
  std::ostream silent(nullptr);
  const int code = bench::run_kernel_bench(options, text, args.common().quiet ? silent : std::cerr);
  if (options.json) {
    nlohmann::ordered_json json = begin_json(args);
    json.update(nlohmann::ordered_json::parse(text.str()));
    answer_json(json);
  } else {
    answer(text.str());
  }
  return code;
}

}  // namespace awq::cli
