#include "bench/cuda_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace awq::bench {
namespace {

constexpr double kLeadMargin = 0.05;  // two runs agree within about 3 %

std::string when(const std::optional<double>& value, std::string_view format) {
  return value ? fmt::format(fmt::runtime(format), *value) : "";
}

std::string percent_when(const std::optional<double>& share) {
  return share ? fmt::format("{:.0f}%", 100 * *share) : "";
}

std::string ratio(double value) { return value > 0 ? fmt::format("{:.2f}", value) : ""; }

bool has_isolated(const CudaBenchReport& report) {
  for (const KernelTiming& row : report.rows)
    if (row.us_isolated) return true;
  return false;
}

std::string head_line(const CudaBenchReport& report) {
  const DeviceInfo& gpu = report.device;
  return fmt::format(
      "{}, {} multiprocessors, driver {}, {}, commit {}: reads {:.0f} GB/s; {} activations\n"
      "* the automatic choice. Microseconds a launch, median; \"of read\": of the measured bandwidth; \"x floor\": "
      "times "
      "the best plain read of these bytes; \"of f16\": rate against fp16 cuBLAS\n",
      gpu.name, gpu.compute_units, gpu.driver_version.empty() ? "unknown" : gpu.driver_version, report.date,
      report.commit, report.read_gb_per_s, report.bf16 ? "bf16" : "f16");
}

std::string shape_head(const LinearShape& shape, double floor_us, bool isolated) {
  return fmt::format(
      "\n{} x {} (n x k){}{}, read floor {:.2f} us\n{:>5}  {:<26} {:>9} {:>9} {:>9}{} {:>7} {:>8} {:>8} {:>8} {:>7} "
      "{:>8} {:>6}\n",
      shape.n, shape.k, shape.used_by.empty() ? "" : ": ", shape.used_by, floor_us, "m", "kernel", "us", "p05", "p95",
      isolated ? fmt::format(" {:>9}", "isolated") : "", "GB/s", "of read", "x floor", "TFLOP/s", "of f16", "error",
      "MHz");
}

std::string row_line(const KernelTiming& row, bool isolated) {
  return fmt::format(
      "{:>5} {}{:<26} {:>9.2f} {:>9.2f} {:>9.2f}{} {:>7.0f} {:>7.0f}% {:>8.2f} {:>8.1f} {:>7} {:>8} {:>6.0f}\n", row.m,
      row.chosen_by("auto") ? '*' : ' ', row.kernel, row.us_p50, row.us_p05, row.us_p95,
      isolated ? fmt::format(" {:>9}", when(row.us_isolated, "{:.2f}")) : "", row.gb_per_s, 100 * row.share_of_read,
      row.times_floor, row.tflop_per_s, percent_when(row.share_of_dense), when(row.relative_error, "{:.1e}"),
      row.sm_mhz);
}

std::string peer_line(int64_t m, const PeerTiming& peer, const KernelTiming& row) {
  return fmt::format("{:>5}  {:<26} {:>9.2f}   auto takes {:.2f} of its time\n", m, "(" + peer.peer + ")", peer.us,
                     row.us_p50 / peer.us);
}

std::string shape_table(const CudaBenchReport& report, const LinearShape& shape, const PeerTable* peers) {
  std::string text;
  int64_t before = 0;
  const bool isolated = has_isolated(report);
  for (const KernelTiming& row : report.rows) {
    if (row.n != shape.n || row.k != shape.k) continue;
    if (text.empty()) text = shape_head(shape, row.floor_us, isolated);
    const KernelTiming* chosen = find_row(report, "auto", row.m, row.n, row.k);
    const PeerTiming* peer = peers && chosen && row.m != before ? peers->best(row.m, row.n, row.k) : nullptr;
    if (peer) text += peer_line(row.m, *peer, *chosen);
    text += row_line(row, isolated);
    before = row.m;
  }
  return text;
}

std::string means_table(const CudaBenchReport& report, const PeerTable* peers) {
  std::string text = fmt::format("\ngeometric means over {} shapes\n{:>5} {:>12} {:>17} {:>15}{}\n",
                                 report.shapes.size(), "m", "auto / floor", "auto / fp16 cuBLAS", "gemv / gemm",
                                 peers ? fmt::format(" {:>16}", "auto / best peer") : "");
  for (const int64_t m : tokens_of(report))
    text += fmt::format("{:>5} {:>12} {:>18} {:>15}{}\n", m, ratio(mean_times_floor(report, "auto", m)),
                        ratio(mean_ratio(report, "auto", kDense, m)), ratio(mean_ratio(report, "gemv", "gemm", m)),
                        peers ? fmt::format(" {:>16}", ratio(mean_against_peers(report, *peers, m))) : "");
  return text;
}

std::string crossover_lines(const CudaBenchReport& report) {
  std::string text = "\ntokens from which gemm is quicker than gemv:";
  for (const LinearShape& shape : report.shapes) {
    const auto m = crossover(curve_of(report, "gemv", shape.n, shape.k), curve_of(report, "gemm", shape.n, shape.k));
    text += fmt::format(" {} {};", to_string(shape), m ? fmt::format("{:.0f}", *m) : "not measured to be");
  }
  text.back() = '\n';
  return text;
}

std::string leads_text(const CudaBenchReport& report, const PeerTable& peers) {
  const std::vector<PeerLead> leads = peer_leads(report, peers, kLeadMargin);
  std::string text =
      fmt::format("\na peer is ahead by more than {:.0f} % in {} cells\n", 100 * kLeadMargin, leads.size());
  for (const PeerLead& lead : leads)
    text += fmt::format("  {}x{}, m = {}: {} {:.2f} us, auto {:.2f} us ({:+.0f} %)\n", lead.n, lead.k, lead.m,
                        lead.peer.peer, lead.peer.us, lead.us, 100 * (lead.us / lead.peer.us - 1));
  return text;
}

nlohmann::ordered_json json_of(const std::optional<double>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
}

nlohmann::ordered_json json_of(const KernelTiming& row) {
  return {{"kernel", row.kernel},
          {"versions", row.versions},
          {"m", row.m},
          {"n", row.n},
          {"k", row.k},
          {"group", row.group},
          {"us_p05", row.us_p05},
          {"us_p50", row.us_p50},
          {"us_p95", row.us_p95},
          {"us_isolated", json_of(row.us_isolated)},
          {"gb_per_s", row.gb_per_s},
          {"share_of_read", row.share_of_read},
          {"floor_us", row.floor_us},
          {"times_floor", row.times_floor},
          {"tflop_per_s", row.tflop_per_s},
          {"share_of_cublas_f16", json_of(row.share_of_dense)},
          {"relative_error", json_of(row.relative_error)},
          {"sm_mhz", row.sm_mhz}};
}

}  // namespace

std::string table_text(const CudaBenchReport& report, const PeerTable* peers) {
  std::string text = head_line(report);
  for (const LinearShape& shape : report.shapes) text += shape_table(report, shape, peers);
  text += means_table(report, peers) + crossover_lines(report);
  if (peers) text += leads_text(report, *peers);
  for (const std::string& note : report.notes) text += "note: " + note + "\n";
  for (const std::string& failure : report.failures) text += "FAILED: " + failure + "\n";
  return text;
}

std::string csv_text(const CudaBenchReport& report) {
  std::string text =
      "kernel,versions,m,n,k,group,us_p05,us_p50,us_p95,us_isolated,GB/s,share_of_read,floor_us,times_floor,TFLOP/s,"
      "share_of_cublas_f16,relative_error,sm_mhz,activations,read_GB/s,gpu,driver,commit,date\n";
  for (const KernelTiming& r : report.rows)
    text += fmt::format(
        "{},{},{},{},{},{},{:.3f},{:.3f},{:.3f},{},{:.1f},{:.4f},{:.3f},{:.3f},{:.2f},{},{},{:.0f},{},{:.0f},{},{},{},{"
        "}\n",
        r.kernel, fmt::join(r.versions, "+"), r.m, r.n, r.k, r.group, r.us_p05, r.us_p50, r.us_p95,
        when(r.us_isolated, "{:.3f}"), r.gb_per_s, r.share_of_read, r.floor_us, r.times_floor, r.tflop_per_s,
        when(r.share_of_dense, "{:.3f}"), when(r.relative_error, "{:.3e}"), r.sm_mhz, report.bf16 ? "bf16" : "f16",
        report.read_gb_per_s, report.device.name, report.device.driver_version, report.commit, report.date);
  return text;
}

nlohmann::ordered_json as_json(const CudaBenchReport& report, const PeerTable* peers) {
  nlohmann::ordered_json json = {{"gpu", report.device.name},
                                 {"capability", report.device.capability},
                                 {"multiprocessors", report.device.compute_units},
                                 {"driver", report.device.driver_version},
                                 {"commit", report.commit},
                                 {"date", report.date},
                                 {"activations", report.bf16 ? "bf16" : "f16"},
                                 {"read_gb_per_s", report.read_gb_per_s}};
  json["rows"] = nlohmann::ordered_json::array();
  for (const KernelTiming& row : report.rows) json["rows"].push_back(json_of(row));
  json["geometric_means"] = nlohmann::ordered_json::array();
  for (const int64_t m : tokens_of(report)) {
    nlohmann::ordered_json mean = {{"m", m},
                                   {"auto_by_floor", mean_times_floor(report, "auto", m)},
                                   {"auto_by_cublas_f16", mean_ratio(report, "auto", kDense, m)},
                                   {"gemv_by_gemm", mean_ratio(report, "gemv", "gemm", m)}};
    if (peers) mean["auto_by_best_peer"] = mean_against_peers(report, *peers, m);
    json["geometric_means"].push_back(std::move(mean));
  }
  if (peers) {
    json["peers_ahead"] = nlohmann::ordered_json::array();
    for (const PeerLead& lead : peer_leads(report, *peers, kLeadMargin))
      json["peers_ahead"].push_back({{"m", lead.m},
                                     {"n", lead.n},
                                     {"k", lead.k},
                                     {"peer", lead.peer.peer},
                                     {"peer_us", lead.peer.us},
                                     {"auto_us", lead.us}});
  }
  json["notes"] = report.notes;
  json["failures"] = report.failures;
  return json;
}

}  // namespace awq::bench
