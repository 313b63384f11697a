#include "bench/single_query.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace awq::bench {
namespace {

using Version = std::optional<double> RequestLatency::*;
struct VersionRow {
  std::string_view version;
  Version seconds;
};
constexpr VersionRow kVersions[] = {
    {"gemv", &RequestLatency::gemv},
    {"gemm", &RequestLatency::gemm},
    {"auto", &RequestLatency::automatic},
    {kDense, &RequestLatency::dense},
};

// All linears of all layers, or nothing when one of them was not measured.
std::optional<double> seconds_of(const CudaBenchReport& report, const ModelShapes& model, std::string_view version,
                                 int64_t m) {
  double us = 0;
  for (const ModelLinear& linear : model.linears) {
    const KernelTiming* row = find_row(report, version, m, linear.n, linear.k);
    if (!row) return std::nullopt;
    us += row->us_p50;
  }
  return us * 1e-6 * model.layers;
}

Curve curve(const SingleQueryReport& report, Version version) {
  Curve points;
  for (const RequestLatency& row : report.rows)
    if (row.*version) points.push_back({static_cast<double>(row.requests), *(row.*version) * 1e6});
  return points;
}

std::string ms(const std::optional<double>& seconds) { return seconds ? fmt::format("{:.3f}", *seconds * 1e3) : "-"; }

std::string quicker(const RequestLatency& row) {
  if (!row.gemv || !row.gemm) return row.gemv ? "gemv" : row.gemm ? "gemm" : "-";
  return *row.gemv <= *row.gemm ? "gemv" : "gemm";
}

// "GEMV takes 0.92 ms for one query where GEMM takes 1.30 ms: 29 % less."
std::string one_query_sentence(const RequestLatency& one) {
  if (!one.gemv || !one.gemm) return {};
  const bool gemv = *one.gemv <= *one.gemm;
  const double less = gemv ? *one.gemv : *one.gemm, more = gemv ? *one.gemm : *one.gemv;
  return fmt::format("{} takes {:.2f} ms a token for one query where {} takes {:.2f} ms: {:.0f} % less. ",
                     gemv ? "GEMV" : "GEMM", less * 1e3, gemv ? "GEMM" : "GEMV", more * 1e3, 100 * (1 - less / more));
}

std::string crossover_sentence(const SingleQueryReport& report) {
  const std::optional<double> from = requests_from_which_gemm_wins(report);
  const int64_t most = report.rows.back().requests;
  if (!from) return fmt::format("GEMV stays ahead up to {} parallel requests. ", most);
  if (*from <= 1) return fmt::format("GEMM is ahead from one request to {}. ", most);
  return fmt::format("GEMM takes over at about {:.0f} parallel requests. ", *from);
}

// What holding on to one version would cost, at worst, over these numbers of requests.
std::string auto_sentence(const SingleQueryReport& report) {
  double worst_gemv = 1, worst_gemm = 1;
  for (const RequestLatency& row : report.rows) {
    if (row.automatic && row.gemv) worst_gemv = std::max(worst_gemv, *row.gemv / *row.automatic);
    if (row.automatic && row.gemm) worst_gemm = std::max(worst_gemm, *row.gemm / *row.automatic);
  }
  return fmt::format(
      "Leave --version at auto: it chooses for every call by its number of tokens. GEMV alone would take up to {:.1f} "
      "times, GEMM alone up to {:.1f} times as long over 1 to {} requests.",
      worst_gemv, worst_gemm, report.rows.back().requests);
}

}  // namespace

SingleQueryReport single_query_of(const CudaBenchReport& kernels, const ModelShapes& model) {
  SingleQueryReport report;
  report.device = kernels.device;
  report.model = model.name;
  report.commit = kernels.commit;
  report.date = kernels.date;
  report.layers = model.layers;
  report.notes = kernels.notes;
  for (const std::string& failure : kernels.failures) report.notes.push_back("failed: " + failure);
  for (const int64_t m : tokens_of(kernels)) {
    RequestLatency row{.requests = m, .gemv = {}, .gemm = {}, .automatic = {}, .dense = {}};
    for (const VersionRow& version : kVersions) row.*version.seconds = seconds_of(kernels, model, version.version, m);
    report.rows.push_back(row);
  }
  return report;
}

SingleQueryReport measure_single_query(backend::cuda::KernelLab& lab, const DeviceInfo& device,
                                       const ModelShapes& model, const CudaBenchOptions& options,
                                       const BenchProgress& progress) {
  CudaBenchOptions kernels = options;
  kernels.shapes = parse_shapes(model.name);
  SingleQueryReport report = single_query_of(measure_kernels(lab, device, kernels, progress), model);
  report.group = options.group;
  return report;
}

std::optional<double> requests_from_which_gemm_wins(const SingleQueryReport& report) {
  return crossover(curve(report, &RequestLatency::gemv), curve(report, &RequestLatency::gemm));
}

std::string recommendation(const SingleQueryReport& report) {
  if (report.rows.empty()) return "nothing was measured";
  return one_query_sentence(report.rows.front()) + crossover_sentence(report) + auto_sentence(report);
}

std::string text_of(const SingleQueryReport& report) {
  std::string text = fmt::format(
      "{} on {}: milliseconds a token step in the quantized linears of {} layers (commit {}, {})\n\n{:>9} {:>9} {:>9} "
      "{:>9} {:>12} {:>15}  {}\n",
      report.model, report.device.name, report.layers, report.commit, report.date, "requests", "gemv", "gemm", "auto",
      "fp16 cuBLAS", "auto, tokens/s", "quicker");
  for (const RequestLatency& row : report.rows)
    text += fmt::format("{:>9} {:>9} {:>9} {:>9} {:>12} {:>15}  {}\n", row.requests, ms(row.gemv), ms(row.gemm),
                        ms(row.automatic), ms(row.dense),
                        row.automatic ? fmt::format("{:.0f}", static_cast<double>(row.requests) / *row.automatic) : "-",
                        quicker(row));
  text += "\n" + recommendation(report) + "\n";
  for (const std::string& note : report.notes) text += "note: " + note + "\n";
  return text;
}

nlohmann::ordered_json as_json(const SingleQueryReport& report) {
  nlohmann::ordered_json json = {{"gpu", report.device.name}, {"driver", report.device.driver_version},
                                 {"model", report.model},     {"layers", report.layers},
                                 {"group", report.group},     {"commit", report.commit},
                                 {"date", report.date}};
  json["rows"] = nlohmann::ordered_json::array();
  for (const RequestLatency& row : report.rows) {
    nlohmann::ordered_json out = {{"requests", row.requests}};
    for (const VersionRow& version : kVersions) {
      const std::optional<double>& seconds = row.*version.seconds;
      out[std::string(version.version) + "_seconds"] =
          seconds ? nlohmann::ordered_json(*seconds) : nlohmann::ordered_json(nullptr);
    }
    json["rows"].push_back(std::move(out));
  }
  const std::optional<double> from = requests_from_which_gemm_wins(report);
  json["gemm_wins_from_requests"] = from ? nlohmann::ordered_json(*from) : nlohmann::ordered_json(nullptr);
  json["recommendation"] = recommendation(report);
  json["notes"] = report.notes;
  return json;
}

}  // namespace awq::bench
