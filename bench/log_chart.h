// A line chart on two logarithmic axes as SVG: no scripts, no fonts or files from elsewhere, colors by class so that
// the page decides them for light and dark.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "bench/statistics.h"

namespace awq::bench {

struct ChartLine {
  std::string name;       // in the legend and in the tooltips
  std::string css_class;  // "gemv"
  Curve points;
};

struct LogChart {
  std::string title;  // what a screen reader says
  std::string x_name, y_name;
  std::string x_symbol = "m", y_unit = "us";  // in the tooltips
  std::vector<ChartLine> lines = {};          // drawn in order; empty ones are left out
  std::optional<double> mark_x = {};          // a vertical line
  std::string mark_name = {};                 // beside it
};

// "" when no line has a point.
std::string svg(const LogChart&);

// Replaces the five characters that mean something in XML.
std::string xml_text(const std::string&);

}  // namespace awq::bench
