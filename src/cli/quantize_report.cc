#include "cli/quantize_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/args.h"
#include "cli/json_answer.h"
#include "cli/numbers.h"
#include "cli/table.h"

namespace awq::cli {
namespace {

constexpr size_t kWorstShown = 5;

// 1: as good as the original, 0: no better than plain rounding.
double gain(const LinearReport& linear) { return linear.rtn_loss > 0 ? 1 - linear.loss / linear.rtn_loss : 0; }

std::string worst_linears(const QuantizeReport& report) {
  std::vector<LinearReport> worst = report.linears;
  std::ranges::sort(worst, std::greater<>(), &LinearReport::loss);
  worst.resize(std::min(worst.size(), kWorstShown));
  Table table({"largest output error", ">mean square", ">against plain rounding", "scale"});
  for (const LinearReport& linear : worst) {
    table.row(
        {linear.name, fmt::format("{:.3g}", linear.loss), fmt::format("-{}", percent(gain(linear))), linear.chosen});
  }
  return table.empty() ? "" : fmt::format("\n{}", table.text());
}

std::string warnings(const QuantizeReport& report) {
  std::string text;
  for (const std::string& warning : report.warnings) text += fmt::format("warning: {}\n", warning);
  for (const LinearReport& linear : report.linears) {
    if (!linear.warning.empty()) text += fmt::format("warning: {}: {}\n", linear.name, linear.warning);
  }
  return text.empty() ? "" : fmt::format("\n{}", text);
}

std::string kept(const QuantizeReport& report) {
  if (report.kept_fp16.empty()) return "nothing but embeddings and norms";
  const size_t shown = std::min<size_t>(report.kept_fp16.size(), 6);
  std::string text =
      fmt::format("{}", fmt::join(report.kept_fp16.begin(), report.kept_fp16.begin() + static_cast<long>(shown), ", "));
  return shown == report.kept_fp16.size() ? text : text + fmt::format(" and {} more", report.kept_fp16.size() - shown);
}

// Mean over the linears of the share of plain rounding's error that is gone.
double mean_gain(const QuantizeReport& report) {
  double sum = 0;
  for (const LinearReport& linear : report.linears) sum += gain(linear);
  return report.linears.empty() ? 0 : sum / static_cast<double>(report.linears.size());
}

int dead_channels(const QuantizeReport& report) {
  int dead = 0;
  for (const LinearReport& linear : report.linears) dead += linear.dead_channels;
  return dead;
}

// "read: read 2.1 s; compute: calibrate 3.0 s, search 4.2 s": tracks run side by side.
std::string timeline(const QuantizeReport& report) {
  std::string text, track;
  for (const StageSeconds& s : report.stages) {
    if (s.seconds < 0.0005) continue;
    text += s.track != track ? fmt::format("{}{}: ", text.empty() ? "" : "; ", s.track) : ", ";
    text += fmt::format("{} {}", s.stage, human_seconds(s.seconds));
    track = s.track;
  }
  return text;
}

std::string next_commands(const QuantizeOptions& options, const QuantizeReport& report) {
  const std::string out = report.out.string();
  return fmt::format(
      "\nnext:\n  awq eval {} --text FILE --against {}\n  awq generate {} --prompt \"The \"\n  awq bench {}\n", out,
      options.model, out, out);
}

}  // namespace

std::string report_text(const QuantizeOptions& options, const QuantizeReport& report) {
  Table table({"quantized", report.out.string()});
  table.row(
      {"size", fmt::format("{} -> {} ({} of the original)", human_bytes(report.bytes_in), human_bytes(report.bytes_out),
                           percent(static_cast<double>(report.bytes_out) /
                                   static_cast<double>(std::max<uint64_t>(report.bytes_in, 1))))});
  table.row({"bits per weight", fmt::format("{:.2f} in the {} quantized linears, scales and zero points included",
                                            report.bits_per_weight, report.linears.size())});
  table.row({"stays fp16", kept(report)});
  table.row(
      {"output error", fmt::format("{} below plain rounding, mean over the linears", percent(mean_gain(report)))});
  table.row({"calibrated on", fmt::format("{} tokens, data hash {}", human_count(report.tokens), report.data_hash)});
  if (const int dead = dead_channels(report))
    table.row({"dead channels", fmt::format("{}: no calibration token excites them", dead)});
  table.row({"took", fmt::format("{} on {}, {} of memory at most", human_seconds(report.seconds), report.device,
                                 human_bytes(report.peak_rss_bytes))});
  table.row({"timeline", timeline(report)});
  return table.text() + worst_linears(report) + warnings(report) + next_commands(options, report);
}

std::string plan_text(const QuantizeOptions& options, const QuantizeReport& report) {
  Table table({"plan", fmt::format("{} -> {} (nothing was written)", options.model, options.out.string())});
  table.row({"memory", fmt::format("{} at most", human_bytes(report.planned_memory_bytes))});
  if (report.planned_device_bytes > 0)
    table.row({"GPU memory", fmt::format("{} at most, on {}{}", human_bytes(report.planned_device_bytes), report.device,
                                         report.streams_linears ? ": one linear at a time, not a block" : "")});
  table.row({"disk", fmt::format("{}, work folder included", human_bytes(report.planned_disk_bytes))});
  table.row({"size", fmt::format("{} -> {}", human_bytes(report.bytes_in), human_bytes(report.bytes_out))});
  if (report.seconds > 0) table.row({"time", fmt::format("about {}", human_seconds(report.seconds))});
  table.row({"bits per weight", fmt::format("{:.2f} in the quantized linears", report.bits_per_weight)});
  table.row({"stays fp16", kept(report)});
  return table.text() + warnings(report);
}

void answer_json_report(const Args& args, const QuantizeOptions& options, const QuantizeReport& report) {
  nlohmann::ordered_json json = begin_json(args);
  json["model"] = options.model;
  json["out"] = options.out.string();
  json["dry_run"] = options.dry_run;
  json["seed"] = options.seed;
  json["tokens"] = report.tokens;
  json["data_hash"] = report.data_hash;
  json["bytes_in"] = report.bytes_in;
  json["bytes_out"] = report.bytes_out;
  json["bits_per_weight"] = report.bits_per_weight;
  json["seconds"] = report.seconds;
  json["peak_rss_bytes"] = report.peak_rss_bytes;
  json["planned_memory_bytes"] = report.planned_memory_bytes;
  json["device"] = report.device;
  json["planned_device_bytes"] = report.planned_device_bytes;
  json["streams_linears"] = report.streams_linears;
  json["stages"] = nlohmann::ordered_json::array();
  for (const StageSeconds& s : report.stages)
    json["stages"].push_back({{"track", s.track}, {"stage", s.stage}, {"seconds", s.seconds}});
  json["planned_disk_bytes"] = report.planned_disk_bytes;
  json["kept_fp16"] = report.kept_fp16;
  json["warnings"] = report.warnings;
  json["linears"] = nlohmann::ordered_json::array();
  for (const LinearReport& linear : report.linears) {
    json["linears"].push_back({{"name", linear.name},
                               {"loss", linear.loss},
                               {"rtn_loss", linear.rtn_loss},
                               {"chosen", linear.chosen},
                               {"dead_channels", linear.dead_channels},
                               {"warning", linear.warning}});
  }
  answer_json(json);
}

}  // namespace awq::cli
