#include "awq/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "awq/error.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/json_answer.h"
#include "cli/numbers.h"
#include "cli/table.h"
#include "cli/terminal.h"

namespace awq::cli {
namespace {

std::string format_of(const ModuleInfo& module) {
  if (!module.quantized) return module.format;
  std::string text = fmt::format("{} int{} g{}", module.format, module.bits, module.group_size);
  if (module.fp16_channels > 0) text += fmt::format(" + {} fp16 channels", module.fp16_channels);
  return text;
}

double bits_per_weight(const ModuleInfo& module) {
  return module.weights == 0 ? 0 : 8.0 * static_cast<double>(module.bytes) / static_cast<double>(module.weights);
}

std::string module_table(const CheckpointInfo& info) {
  Table table({"module", "format", ">shape", ">size", ">bits/weight"});
  for (const ModuleInfo& module : info.modules) {
    table.row({module.name, format_of(module), fmt::format("{}", fmt::join(module.shape, " x ")),
               human_bytes(module.bytes), fmt::format("{:.2f}", bits_per_weight(module))});
  }
  return table.text() + "\n";
}

// One line a format: how much of the checkpoint it is.
std::string format_table(const CheckpointInfo& info) {
  struct Sum {
    int modules = 0;
    uint64_t weights = 0, bytes = 0;
  };
  std::map<std::string, Sum> sums;
  for (const ModuleInfo& module : info.modules) {
    Sum& sum = sums[module.quantized ? fmt::format("{} int{} g{}", module.format, module.bits, module.group_size)
                                     : module.format];
    ++sum.modules;
    sum.weights += module.weights;
    sum.bytes += module.bytes;
  }
  Table table({"format", ">modules", ">weights", ">size", ">bits/weight"});
  for (const auto& [format, sum] : sums) {
    const double bits = sum.weights == 0 ? 0 : 8.0 * static_cast<double>(sum.bytes) / static_cast<double>(sum.weights);
    table.row({format, std::to_string(sum.modules), human_count(sum.weights), human_bytes(sum.bytes),
               fmt::format("{:.2f}", bits)});
  }
  table.row({"all", std::to_string(info.modules.size()), human_count(info.weights), human_bytes(info.bytes),
             fmt::format("{:.2f}", info.bits_per_weight)});
  return table.text();
}

bool loads_everywhere(const CheckpointInfo& info) {
  return std::ranges::all_of(info.serving, [](const ServeCheck& check) { return check.refusals.empty(); });
}

std::string serving_table(const CheckpointInfo& info) {
  if (info.serving.empty()) return "";
  Table table({">GPUs", "vLLM and SGLang, tensor parallel"});
  for (const ServeCheck& check : info.serving) {
    std::vector<std::string> verdicts;
    for (const std::string& why : check.refusals) verdicts.push_back("no: " + why);
    for (const std::string& why : check.slower) verdicts.push_back("slower: " + why);
    if (verdicts.empty()) verdicts.emplace_back("yes");
    for (size_t i = 0; i < verdicts.size(); ++i) table.row({i == 0 ? std::to_string(check.gpus) : "", verdicts[i]});
  }
  return "\n" + table.text() + (info.serving_remedy.empty() ? "" : fmt::format("remedy: {}\n", info.serving_remedy));
}

std::string text_of(const CheckpointInfo& info, bool modules) {
  std::string text =
      fmt::format("{}\n{}", info.folder, info.architecture.empty() ? "unknown architecture" : info.architecture);
  text += info.layout.empty()
              ? ", not quantized with AWQ\n\n"
              : fmt::format(", AWQ {} bits, group {}, layout {}\n\n", info.bits, info.group_size, info.layout);
  if (modules) text += module_table(info);
  text += format_table(info) + serving_table(info);
  for (const std::string& warning : info.warnings) text += fmt::format("warning: {}\n", warning);
  return text;
}

nlohmann::ordered_json json_of(const Args& args, const CheckpointInfo& info) {
  nlohmann::ordered_json json = begin_json(args);
  json["folder"] = info.folder;
  json["architecture"] = info.architecture;
  json["layout"] = info.layout;
  json["bits"] = info.bits;
  json["group_size"] = info.group_size;
  json["weights"] = info.weights;
  json["bytes"] = info.bytes;
  json["bits_per_weight"] = info.bits_per_weight;
  json["quantized_bits_per_weight"] = info.quantized_bits_per_weight;
  json["warnings"] = info.warnings;
  for (const ServeCheck& check : info.serving)
    json["serving"].push_back({{"gpus", check.gpus},
                               {"loads", check.refusals.empty()},
                               {"refusals", check.refusals},
                               {"slower", check.slower}});
  if (!info.serving.empty()) json["serving_remedy"] = info.serving_remedy;
  json["modules"] = nlohmann::ordered_json::array();
  for (const ModuleInfo& module : info.modules) {
    json["modules"].push_back({{"name", module.name},
                               {"format", module.format},
                               {"quantized", module.quantized},
                               {"bits", module.bits},
                               {"group_size", module.group_size},
                               {"shape", module.shape},
                               {"weights", module.weights},
                               {"bytes", module.bytes},
                               {"fp16_channels", module.fp16_channels}});
  }
  return json;
}

}  // namespace

int run_inspect(Args& args) {
  std::string model, serve_tp;
  bool summary = false;
  args.about(
      "Reads headers only, so it takes no time on a checkpoint of any size. Checks that the tensors of each quantized "
      "module have the shapes that its layout needs.");
  args.positional("MODEL", model, "folder, or org/name in the local Hugging Face cache; original or AWQ");
  args.section("what to show");
  args.flag("--summary", summary, "totals only, not every module");
  args.text("--serve-tp", "N,...", serve_tp,
            "whether vLLM and SGLang could serve it with tensor parallelism on so many GPUs; exit code 7 when not");
  args.example("awq inspect out/demo-awq", "every module: format, shape, size, bits per weight");
  args.example("awq inspect out/demo-awq --json | jq .bits_per_weight", "for scripts");
  args.example("awq inspect out/demo-awq --summary --serve-tp 1,2,4,8", "on how many GPUs vLLM can serve it");
  args.finish();
  const CheckpointInfo info = inspect(model, parse_counts(serve_tp));
  if (args.common().json) {
    answer_json(json_of(args, info));
  } else {
    answer(text_of(info, !summary));
  }
  return loads_everywhere(info) ? 0 : static_cast<int>(ErrorKind::kCheckFailed);
}

}  // namespace awq::cli
