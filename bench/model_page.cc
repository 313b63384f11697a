// The figures of a whole model as one HTML file: a step's time and the tokens a second against the number of sequences.
#include <fmt/format.h>

#include <set>

#include "bench/kernel_page.h"
#include "bench/log_chart.h"
#include "bench/model_report.h"

namespace awq::bench {
namespace {

template <class Value>
Curve curve(const ModelBenchReport& report, const std::string& version, int64_t prompt, Value value) {
  Curve out;
  for (const ModelTiming& t : report.timings)
    if (t.version == version && t.prompt == prompt && value(t) > 0)
      out.push_back({static_cast<double>(t.batch), value(t)});
  return out;
}

template <class Value>
std::string chart(const ModelBenchReport& report, int64_t prompt, const std::string& what, const char* unit,
                  Value value, Value floor) {
  const std::string title = fmt::format("{}, {} prompt tokens", what, prompt);
  LogChart chart{.title = title, .x_name = "sequences together", .y_name = what, .x_symbol = "batch", .y_unit = unit};
  std::set<std::string> versions;
  for (const ModelTiming& t : report.timings) versions.insert(t.version);
  for (const std::string& version : versions) {
    const std::string css = version == "auto" || version == "gemv" ? version : "gemm";
    chart.lines.push_back({version, css, curve(report, version, prompt, value)});
  }
  if (!report.timings.empty())
    chart.lines.push_back(
        {"bytes over bandwidth", "floor", curve(report, report.timings.back().version, prompt, floor)});
  return fmt::format("<figure>\n<figcaption>{}</figcaption>\n{}</figure>\n", title, svg(chart));
}

std::string charts(const ModelBenchReport& r, int64_t prompt) {
  using Value = double (*)(const ModelBenchReport&, const ModelTiming&);
  const auto of = [&r](Value value) { return [&r, value](const ModelTiming& t) { return value(r, t); }; };
  return chart(r, prompt, "milliseconds a step", "ms",
               of([](const ModelBenchReport&, const ModelTiming& t) { return t.percentile(.5) * 1e3; }),
               of([](const ModelBenchReport& report, const ModelTiming& t) { return report.floor_seconds(t) * 1e3; })) +
         chart(r, prompt, "tokens a second", "tokens/s",
               of([](const ModelBenchReport&, const ModelTiming& t) { return t.tokens_per_s(); }),
               of([](const ModelBenchReport& report, const ModelTiming& t) {
                 const double floor = report.floor_seconds(t);
                 return floor > 0 ? static_cast<double>(t.batch) / floor : 0;
               })) +
         chart(r, prompt, "milliseconds to the first token", "ms",
               of([](const ModelBenchReport&, const ModelTiming& t) { return t.median_first_token() * 1e3; }),
               of([](const ModelBenchReport&, const ModelTiming&) { return 0.; }));
}

}  // namespace

std::string html_page(const ModelBenchReport& r) {
  const std::string title = fmt::format("awq bench {}: {}", r.model, r.device);
  std::string out = page_head(title);
  out += fmt::format(
      "<p>{}; commit {}. {} new tokens, {} runs; medians.{}</p>\n", r.date, xml_text(r.commit), r.generate, r.repeat,
      r.read_bytes_per_s > 0 ? fmt::format(" Measured read bandwidth {:.0f} GB/s.", r.read_bytes_per_s * 1e-9) : "");
  out += "<div class=\"charts\">\n";
  std::set<int64_t> prompts;
  for (const ModelTiming& t : r.timings) prompts.insert(t.prompt);
  for (const int64_t prompt : prompts) out += charts(r, prompt);
  return out + "</div>\n<pre>" + xml_text(table_text(r)) + "</pre>\n</body>\n</html>\n";
}

}  // namespace awq::bench
