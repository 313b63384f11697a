#include "awq/convert.h"

#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "cli/args.h"
#include "cli/command.h"
#include "cli/json_answer.h"
#include "cli/layout_choice.h"
#include "cli/numbers.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/table.h"
#include "cli/terminal.h"
#include "format/registry.h"

namespace awq::cli {
namespace {

struct Request {
  ConvertOptions options;
  std::string out;
  ProgressStyle progress = ProgressStyle::kAuto;
};

void declare(Args& args, Request& request) {
  args.about(
      "Repacks the quantized linears; their values stay what they are, bit for bit, and everything else is copied. awq "
      "itself runs every layout on every kernel, so this is for other loaders: gemm is what vLLM, SGLang and "
      "transformers read as AWQ, compressed-tensors is vLLM's own format, modelopt TensorRT-LLM's. "
      "compressed-tensors-sym and modelopt take weights quantized with --sym only.");
  args.positional("MODEL", request.options.model,
                  "AWQ or compressed-tensors checkpoint: folder, or org/name in the local Hugging Face cache");
  args.positional("OUT", request.out, "folder to create");
  args.section("what to write");
  args.choice("--to,--version,--layout,--format", request.options.to, layout_choices(), "layout of the packed weights");
  args.count("--max-shard-size,--shard_size", "BYTES", request.options.max_shard_bytes,
             "size of a weights file at most");
  args.flag("--force", request.options.force, "replace an existing output, after the new one is complete");
  add_progress_option(args, request.progress);
  args.example("awq convert old-gemv-model out/for-vllm --to gemm", "a layout that vLLM reads");
  args.example("awq convert org/model-W4A16 out/gemm --to gemm", "from llm-compressor's format to AWQ's");
}

std::string text_of(const ConvertReport& report) {
  Table table({"converted", report.out.string()});
  table.row({"layout", fmt::format("{} -> {}", format::layout(report.from).name, format::layout(report.to).name)});
  table.row({"linears", fmt::format("{} repacked", report.linears)});
  table.row({"size", fmt::format("{} -> {}", human_bytes(report.bytes_in), human_bytes(report.bytes_out))});
  table.row({"took", human_seconds(report.seconds)});
  return table.text();
}

nlohmann::ordered_json json_of(const Args& args, const ConvertReport& report) {
  nlohmann::ordered_json json = begin_json(args);
  json["out"] = report.out.string();
  json["from"] = format::layout(report.from).name;
  json["to"] = format::layout(report.to).name;
  json["linears"] = report.linears;
  json["bytes_in"] = report.bytes_in;
  json["bytes_out"] = report.bytes_out;
  json["seconds"] = report.seconds;
  return json;
}

ConvertReport convert_with_progress(const Args& args, Request& request) {
  Progress progress(request.progress, args.common().quiet);
  const auto start = std::chrono::steady_clock::now();
  catch_stop_signals();
  request.options.stop = &stop_signal();
  request.options.progress = [&](const ConvertProgress& p) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double share = p.bytes_total > 0 ? static_cast<double>(p.bytes_done) / static_cast<double>(p.bytes_total) : 0;
    progress.show({"repacking, percent", static_cast<int>(100 * share), 100, seconds,
                   share > 0 ? seconds / share - seconds : -1, ""});
  };
  return convert(request.options);
}

}  // namespace

int run_convert(Args& args) {
  Request request;
  declare(args, request);
  args.finish();
  request.options.out = request.out;
  const ConvertReport report = convert_with_progress(args, request);
  if (args.common().json) {
    answer_json(json_of(args, report));
  } else if (args.common().quiet) {
    answer(report.out.string() + "\n");
  } else {
    answer(text_of(report));
  }
  return 0;
}

}  // namespace awq::cli
