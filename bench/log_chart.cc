#include "bench/log_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace awq::bench {
namespace {

// Of the drawing, in its own units; the page scales it.
constexpr double kWidth = 640, kHeight = 400;
constexpr double kLeft = 62, kRight = 20, kTop = 34, kBottom = 46;

struct Axis {
  double low, high;   // of the data, low < high
  double begin, end;  // in the drawing
  double at(double value) const { return begin + (end - begin) * std::log(value / low) / std::log(high / low); }
};

struct Axes {
  Axis x, y;
};

// A little room above and below, so that no line runs along the frame.
Axes axes_of(const LogChart& chart) {
  double low_m = 1e300, high_m = 0, low_us = 1e300, high_us = 0;
  for (const ChartLine& line : chart.lines)
    for (const CurvePoint& p : line.points) {
      low_m = std::min(low_m, p.m);
      high_m = std::max(high_m, p.m);
      low_us = std::min(low_us, p.us);
      high_us = std::max(high_us, p.us);
    }
  if (low_m == high_m) high_m *= 2;
  return {{low_m, high_m, kLeft, kWidth - kRight}, {low_us / 1.25, high_us * 1.25, kHeight - kBottom, kTop}};
}

std::string number(double value) {
  return value >= 1000 && value < 1e6 ? fmt::format("{:.0f}", value) : fmt::format("{:g}", value);
}

std::string text(double x, double y, const char* anchor, const std::string& what) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor, xml_text(what));
}

std::string rule(double x1, double y1, double x2, double y2, const char* css_class) {
  return fmt::format("<line class=\"{}\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n", css_class, x1,
                     y1, x2, y2);
}

// Powers of two, every other one where they would touch.
std::string x_grid(const Axis& x) {
  const double first = std::ceil(std::log2(x.low) - 1e-9), last = std::floor(std::log2(x.high) + 1e-9);
  const int step = last - first > 12 ? 2 : 1;
  std::string out;
  for (double power = first; power <= last; power += step) {
    const double at = x.at(std::exp2(power));
    out += rule(at, kTop, at, kHeight - kBottom, "grid") +
           text(at, kHeight - kBottom + 16, "middle", number(std::exp2(power)));
  }
  return out;
}

// 1, 2 and 5 times the powers of ten; over more than three decades the powers alone.
std::string y_grid(const Axis& y) {
  std::string out;
  const bool wide = y.high / y.low > 1000;
  for (double decade = std::floor(std::log10(y.low)); decade <= std::log10(y.high); ++decade)
    for (const double digit : {1., 2., 5.}) {
      const double value = digit * std::pow(10., decade);
      if (value < y.low || value > y.high || (wide && digit != 1)) continue;
      out += rule(kLeft, y.at(value), kWidth - kRight, y.at(value), "grid") +
             text(kLeft - 6, y.at(value) + 4, "end", number(value));
    }
  return out;
}

std::string line_of(const LogChart& chart, const ChartLine& line, const Axes& axes) {
  std::string points, dots;
  for (const CurvePoint& p : line.points) {
    const double x = axes.x.at(p.m), y = axes.y.at(p.us);
    points += fmt::format("{}{:.1f},{:.1f}", points.empty() ? "" : " ", x, y);
    dots +=
        fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"><title>{}, {} = {:g}: {:.2f} {}</title></circle>\n", x,
                    y, xml_text(line.name), chart.x_symbol, p.m, p.us, chart.y_unit);
  }
  return fmt::format("<g class=\"{}\">\n<polyline points=\"{}\"/>\n{}</g>\n", line.css_class, points, dots);
}

std::string legend(const LogChart& chart) {
  std::string out;
  double x = kLeft;
  for (const ChartLine& line : chart.lines) {
    if (line.points.empty()) continue;
    out +=
        fmt::format("<g class=\"{}\">\n<polyline points=\"{:.1f},14 {:.1f},14\"/>\n</g>\n", line.css_class, x, x + 22) +
        text(x + 27, 18, "start", line.name);
    x += 27 + 7.2 * static_cast<double>(line.name.size()) + 16;
  }
  return out;
}

std::string mark(const LogChart& chart, const Axis& x) {
  if (!chart.mark_x) return {};
  const double at = x.at(std::clamp(*chart.mark_x, x.low, x.high));
  const bool right_half = at > kWidth * 0.6;
  return rule(at, kTop, at, kHeight - kBottom, "mark") +
         text(at + (right_half ? -5 : 5), kTop + 12, right_half ? "end" : "start", chart.mark_name);
}

}  // namespace

std::string xml_text(const std::string& plain) {
  std::string out;
  for (const char c : plain) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string svg(const LogChart& chart) {
  if (std::ranges::all_of(chart.lines, [](const ChartLine& line) { return line.points.empty(); })) return {};
  const Axes axes = axes_of(chart);
  std::string out =
      fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n",
                  kWidth, kHeight, xml_text(chart.title));
  out += x_grid(axes.x) + y_grid(axes.y);
  out += rule(kLeft, kHeight - kBottom, kWidth - kRight, kHeight - kBottom, "axis") +
         rule(kLeft, kTop, kLeft, kHeight - kBottom, "axis");
  out += text((kLeft + kWidth - kRight) / 2, kHeight - 10, "middle", chart.x_name);
  out += fmt::format("<text transform=\"translate(14 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                     (kTop + kHeight - kBottom) / 2, xml_text(chart.y_name));
  out += mark(chart, axes.x);
  for (const ChartLine& line : chart.lines)
    if (!line.points.empty()) out += line_of(chart, line, axes);
  return out + legend(chart) + "</svg>\n";
}

}  // namespace awq::bench
