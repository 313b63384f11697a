#include "kernel_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

#include "bench/report_file.h"

namespace awq::bench {
namespace {

// Empty where it was not measured.
std::string share(const std::optional<double>& value) { return value ? fmt::format("{:.3f}", *value) : ""; }

nlohmann::json as_json(const std::optional<double>& value) { return value ? nlohmann::json(*value) : nullptr; }

std::string csv_text(const KernelBenchReport& report) {
  const std::string cpu = report.cpu + " " + report.instruction_sets;
  std::string text =
      "kernel,m,n,k,group,us_p05,us_p50,us_p95,GB/s,share_of_read,GFLOP/"
      "s,share_of_onednn_f32,share_of_onednn_bf16,max_rel_error,cpu,cores,commit,"
      "date\n";
  for (const KernelBenchRow& r : report.rows)
    text += fmt::format("{},{},{},{},{},{:.1f},{:.1f},{:.1f},{:.2f},{:.3f},{:.1f},{:.3f},{},{:.2e},{},{},{},{}\n",
                        r.kernel, r.m, r.n, r.k, r.group, r.us_p05, r.us_p50, r.us_p95, r.gb_per_s, r.share_of_read,
                        r.gflop_per_s, r.share_of_onednn_f32, share(r.share_of_onednn_bf16), r.max_rel_error, cpu,
                        report.cores, report.commit, report.date);
  return text;
}

}  // namespace

void write_table(const KernelBenchReport& report, std::ostream& out) {
  out << fmt::format(
      "{}, {}, {} cores: memory reads {:.1f} to {:.1f} GB/s; \"of f32\" and \"of bf16\" are of oneDNN's products\n",
      report.cpu, report.instruction_sets, report.cores, report.read_gb_per_s_min, report.read_gb_per_s_max);
  const KernelBenchRow* before = nullptr;
  for (const KernelBenchRow& r : report.rows) {
    if (!before || before->n != r.n || before->k != r.k)
      out << fmt::format("\n{} x {} (n x k)\n{:>5}  {:<32} {:>10} {:>8} {:>8} {:>9} {:>8} {:>8} {:>9}\n", r.n, r.k, "m",
                         "kernel", "us (p50)", "GB/s", "of read", "GFLOP/s", "of f32", "of bf16", "error");
    else if (before->m != r.m)
      out << '\n';
    out << fmt::format("{:>5}  {:<32} {:>10.1f} {:>8.2f} {:>7.0f}% {:>9.1f} {:>7.0f}% {:>8} {:>9.1e}\n", r.m, r.kernel,
                       r.us_p50, r.gb_per_s, 100 * r.share_of_read, r.gflop_per_s, 100 * r.share_of_onednn_f32,
                       r.share_of_onednn_bf16 ? fmt::format("{:.0f}%", 100 * *r.share_of_onednn_bf16) : "-",
                       r.max_rel_error);
    before = &r;
  }
}

void write_json(const KernelBenchReport& report, std::ostream& out) {
  nlohmann::ordered_json json = {{"cpu", report.cpu},
                                 {"instruction_sets", report.instruction_sets},
                                 {"cores", report.cores},
                                 {"commit", report.commit},
                                 {"date", report.date},
                                 {"read_gb_per_s_min", report.read_gb_per_s_min},
                                 {"read_gb_per_s_max", report.read_gb_per_s_max}};
  json["rows"] = nlohmann::ordered_json::array();
  for (const KernelBenchRow& r : report.rows)
    json["rows"].push_back({{"kernel", r.kernel},
                            {"m", r.m},
                            {"n", r.n},
                            {"k", r.k},
                            {"group", r.group},
                            {"us_p05", r.us_p05},
                            {"us_p50", r.us_p50},
                            {"us_p95", r.us_p95},
                            {"gb_per_s", r.gb_per_s},
                            {"share_of_read", r.share_of_read},
                            {"gflop_per_s", r.gflop_per_s},
                            {"share_of_onednn_f32", r.share_of_onednn_f32},
                            {"share_of_onednn_bf16", as_json(r.share_of_onednn_bf16)},
                            {"max_rel_error", r.max_rel_error}});
  out << json.dump(2) << '\n';
}

std::string write_csv(const KernelBenchReport& report, const std::string& target) {
  return write_report_file(target, fmt::format("{}-{}-cores.csv", slug(report.cpu), report.cores), csv_text(report));
}

}  // namespace awq::bench
