#include "bench/kernel_page.h"

#include <fmt/format.h>

#include "bench/log_chart.h"

namespace awq::bench {
namespace {

// Colors that people with any color vision tell apart, and a dash pattern beside each.
constexpr std::string_view kStyle = R"(
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --faint: #d8dee4;
        --gemv: #0072b2; --gemm: #d55e00; --dense: #6e7781; --floor: #1a7f37; --peer: #8250df; --auto: #f2cc60; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --faint: #30363d;
          --gemv: #58a6ff; --gemm: #ff9e57; --dense: #8b949e; --floor: #56d364; --peer: #bc8cff; --auto: #7a6412; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1400px;
       margin: 2rem auto; padding: 0 1rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 520px), 1fr)); gap: 1.5rem; }
figure { margin: 0; } figcaption { font-weight: 600; }
svg { width: 100%; height: auto; font-size: 12px; } svg text { fill: var(--ink); }
polyline { fill: none; stroke-width: 2; } circle { stroke: none; }
.grid { stroke: var(--faint); stroke-width: 1; } .axis { stroke: var(--ink); stroke-width: 1; }
.mark { stroke: var(--ink); stroke-width: 1; stroke-dasharray: 2 4; }
.auto polyline { stroke: var(--auto); stroke-width: 9; stroke-linecap: round; stroke-linejoin: round; }
.auto circle { fill: none; }
.gemv polyline { stroke: var(--gemv); } .gemv circle { fill: var(--gemv); }
.gemm polyline { stroke: var(--gemm); stroke-dasharray: 9 3; } .gemm circle { fill: var(--gemm); }
.dense polyline { stroke: var(--dense); stroke-dasharray: 3 3; } .dense circle { fill: var(--dense); }
.floor polyline { stroke: var(--floor); stroke-dasharray: 12 3 2 3; } .floor circle { fill: none; }
.peer polyline { stroke: var(--peer); stroke-dasharray: 1 4; } .peer circle { fill: var(--peer); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid var(--faint); }
td:first-child, th:first-child { text-align: left; } .wide { overflow-x: auto; }
)";

std::string cells(const std::vector<std::string>& values, const char* tag) {
  std::string out = "<tr>";
  for (const std::string& value : values) out += fmt::format("<{0}>{1}</{0}>", tag, xml_text(value));
  return out + "</tr>\n";
}

std::string ratio(double value) { return value > 0 ? fmt::format("{:.2f}", value) : "-"; }

Curve floor_curve(const CudaBenchReport& report, const LinearShape& shape) {
  Curve curve = curve_of(report, "auto", shape.n, shape.k);
  for (CurvePoint& point : curve)
    point.us = find_row(report, "auto", static_cast<int64_t>(point.m), shape.n, shape.k)->floor_us;
  return curve;
}

Curve peer_curve(const CudaBenchReport& report, const PeerTable* peers, const LinearShape& shape) {
  Curve curve;
  for (const int64_t m : tokens_of(report))
    if (const PeerTiming* peer = peers ? peers->best(m, shape.n, shape.k) : nullptr)
      curve.push_back({static_cast<double>(m), peer->us});
  return curve;
}

std::string chart(const CudaBenchReport& report, const PeerTable* peers, const LinearShape& shape) {
  const auto line = [&](const char* name, const char* css_class, std::string_view version) {
    return ChartLine{name, css_class, curve_of(report, version, shape.n, shape.k)};
  };
  LogChart chart{
      .title = fmt::format("Microseconds against tokens for {}", to_string(shape)),
      .x_name = "tokens at once (m)",
      .y_name = "microseconds a launch",
      .lines = {line("auto", "auto", "auto"),
                {"read floor", "floor", floor_curve(report, shape)},
                line("fp16 cuBLAS", "dense", kDense),
                {"best peer", "peer", peer_curve(report, peers, shape)},
                line("GEMM", "gemm", "gemm"),
                line("GEMV", "gemv", "gemv")},
      .mark_x = crossover(curve_of(report, "gemv", shape.n, shape.k), curve_of(report, "gemm", shape.n, shape.k)),
      .mark_name = {}};
  if (chart.mark_x) chart.mark_name = fmt::format("GEMM from {:.0f}", *chart.mark_x);
  return fmt::format("<figure>\n<figcaption>{} (n x k){}</figcaption>\n{}</figure>\n", to_string(shape),
                     shape.used_by.empty() ? "" : ": " + xml_text(shape.used_by), svg(chart));
}

std::string means(const CudaBenchReport& report, const PeerTable* peers) {
  std::vector<std::string> head = {"m", "auto / read floor", "auto / fp16 cuBLAS", "GEMV / GEMM"};
  if (peers) head.emplace_back("auto / best peer");
  std::string out = "<div class=\"wide\"><table>\n" + cells(head, "th");
  for (const int64_t m : tokens_of(report)) {
    std::vector<std::string> row = {std::to_string(m), ratio(mean_times_floor(report, "auto", m)),
                                    ratio(mean_ratio(report, "auto", kDense, m)),
                                    ratio(mean_ratio(report, "gemv", "gemm", m))};
    if (peers) row.push_back(ratio(mean_against_peers(report, *peers, m)));
    out += cells(row, "td");
  }
  return out + "</table></div>\n";
}

std::string figures(const CudaBenchReport& report) {
  std::string out = "<details>\n<summary>every figure</summary>\n<div class=\"wide\"><table>\n" +
                    cells({"kernel", "chosen by", "n x k", "m", "us p50", "p05", "p95", "GB/s", "of read", "x floor",
                           "TFLOP/s", "relative error", "MHz"},
                          "th");
  for (const KernelTiming& r : report.rows)
    out += cells(
        {r.kernel, fmt::format("{}", fmt::join(r.versions, ", ")), fmt::format("{}x{}", r.n, r.k), std::to_string(r.m),
         fmt::format("{:.2f}", r.us_p50), fmt::format("{:.2f}", r.us_p05), fmt::format("{:.2f}", r.us_p95),
         fmt::format("{:.0f}", r.gb_per_s), fmt::format("{:.0f}%", 100 * r.share_of_read),
         fmt::format("{:.2f}", r.times_floor), fmt::format("{:.1f}", r.tflop_per_s),
         r.relative_error ? fmt::format("{:.1e}", *r.relative_error) : "", fmt::format("{:.0f}", r.sm_mhz)},
        "td");
  return out + "</table></div>\n</details>\n";
}

}  // namespace

std::string page_head(const std::string& title) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\"/>\n<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n"
      "<h1>{}</h1>\n",
      xml_text(title), kStyle, xml_text(title));
}

std::string html_page(const CudaBenchReport& report, const PeerTable* peers) {
  const std::string title = fmt::format("awq bench --kernels: {}", report.device.name);
  std::string out = page_head(title);
  out += fmt::format(
      "<p>{}; driver {}; commit {}. Measured read bandwidth {:.0f} GB/s. {} activations; 4-bit weights, cold: copies "
      "larger than the cache take turns. A CUDA graph of whole turns is replayed; medians, nothing subtracted. The "
      "read "
      "floor is the best of several plain reads of the same bytes.</p>\n",
      report.date, xml_text(report.device.driver_version), xml_text(report.commit), report.read_gb_per_s,
      report.bf16 ? "bf16" : "f16");
  out += "<h2>Geometric means over the shapes</h2>\n" + means(report, peers) +
         "<h2>Latency</h2>\n<div class=\"charts\">\n";
  for (const LinearShape& shape : report.shapes) out += chart(report, peers, shape);
  out += "</div>\n" + figures(report);
  for (const std::string& note : report.notes) out += fmt::format("<p>{}</p>\n", xml_text(note));
  for (const std::string& failure : report.failures)
    out += fmt::format("<p><strong>failed:</strong> {}</p>\n", xml_text(failure));
  return out + "</body>\n</html>\n";
}

}  // namespace awq::bench
