// The figures of a whole model as one HTML file: a step's time and the tokens a second against the number of sequences.
#include <fmt/format.h>

#include <set>

#include "bench/kernel_page.h"
#include "bench/log_chart.h"
#include "bench/model_report.h"

namespace awq::bench {
namespace {

template <class Value>
Curve curve(const ModelBenchReport& report, const std::string& version, Value value) {
  Curve out;
  for (const ModelTiming& t : report.timings)
    if (t.version == version && value(t) > 0) out.push_back({static_cast<double>(t.batch), value(t)});
  return out;
}

template <class Value>
std::string chart(const ModelBenchReport& report, const char* title, const char* unit, Value value, Value floor) {
  LogChart chart{.title = title, .x_name = "sequences together", .y_name = title, .x_symbol = "batch", .y_unit = unit};
  std::set<std::string> versions;
  for (const ModelTiming& t : report.timings) versions.insert(t.version);
  for (const std::string& version : versions) {
    const std::string css = version == "auto" || version == "gemv" ? version : "gemm";
    chart.lines.push_back({version, css, curve(report, version, value)});
  }
  if (!report.timings.empty())
    chart.lines.push_back({"bytes over bandwidth", "floor", curve(report, report.timings.back().version, floor)});
  return fmt::format("<figure>\n<figcaption>{}</figcaption>\n{}</figure>\n", title, svg(chart));
}

}  // namespace

std::string html_page(const ModelBenchReport& r) {
  using Value = double (*)(const ModelBenchReport&, const ModelTiming&);
  const auto of = [&r](Value value) { return [&r, value](const ModelTiming& t) { return value(r, t); }; };
  const std::string title = fmt::format("awq bench {}: {}", r.model, r.device);
  std::string out = page_head(title);
  out += fmt::format(
      "<p>{}; commit {}. {} prompt tokens, {} new tokens, {} runs; medians.{}</p>\n", r.date, xml_text(r.commit),
      r.prompt, r.generate, r.repeat,
      r.read_bytes_per_s > 0 ? fmt::format(" Measured read bandwidth {:.0f} GB/s.", r.read_bytes_per_s * 1e-9) : "");
  out += "<div class=\"charts\">\n";
  out += chart(r, "milliseconds a step", "ms",
               of([](const ModelBenchReport&, const ModelTiming& t) { return t.percentile(.5) * 1e3; }),
               of([](const ModelBenchReport& report, const ModelTiming& t) { return report.floor_seconds(t) * 1e3; }));
  out += chart(r, "tokens a second", "tokens/s",
               of([](const ModelBenchReport&, const ModelTiming& t) { return t.tokens_per_s(); }),
               of([](const ModelBenchReport& report, const ModelTiming& t) {
                 const double floor = report.floor_seconds(t);
                 return floor > 0 ? static_cast<double>(t.batch) / floor : 0;
               }));
  out += chart(r, "milliseconds to the first token", "ms",
               of([](const ModelBenchReport&, const ModelTiming& t) { return t.median_first_token() * 1e3; }),
               of([](const ModelBenchReport&, const ModelTiming&) { return 0.; }));
  return out + "</div>\n<pre>" + xml_text(table_text(r)) + "</pre>\n</body>\n</html>\n";
}

}  // namespace awq::bench
