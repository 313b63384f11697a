#include "cli/numbers.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "awq/error.h"

namespace awq::cli {
namespace {

struct Suffix {
  std::string_view text;
  double factor;
};
constexpr Suffix kSuffixes[] = {
    {"", 1},        {"k", 1e3},      {"m", 1e6},      {"g", 1e9},      {"kB", 1e3},     {"KB", 1e3},    {"MB", 1e6},
    {"GB", 1e9},    {"TB", 1e12},    {"K", 0x1p10},   {"M", 0x1p20},   {"G", 0x1p30},   {"Ki", 0x1p10}, {"Mi", 0x1p20},
    {"Gi", 0x1p30}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40},
};

// The number at the front of `text`; `rest` is what follows. from_chars: the decimal point is '.' in every locale.
double leading_number(std::string_view text, std::string_view& rest) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || !std::isfinite(value)) {
    throw Error(ErrorKind::kUsage, fmt::format("'{}' is not a number", text));
  }
  rest = text.substr(static_cast<size_t>(end - text.data()));
  return value;
}

}  // namespace

int64_t parse_count(std::string_view text) {
  std::string_view suffix;
  const double number = leading_number(text, suffix);
  for (const Suffix& row : kSuffixes) {
    if (row.text != suffix) continue;
    const double value = number * row.factor;
    if (value != std::floor(value) || std::abs(value) > 0x1p53) break;  // beyond 2^53 a double skips integers
    return static_cast<int64_t>(value);
  }
  throw Error(ErrorKind::kUsage, fmt::format("'{}' is not a whole number such as 512, 128K or 5GB", text));
}

std::vector<int> parse_counts(std::string_view text) {
  std::vector<int> counts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    const int64_t count = parse_count(text.substr(0, end));
    if (count < 0 || count > std::numeric_limits<int>::max())
      throw Error(ErrorKind::kUsage, fmt::format("{} is out of range in a list such as 1,2,4", count));
    counts.push_back(static_cast<int>(count));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return counts;
}

double parse_real(std::string_view text) {
  std::string_view rest;
  const double value = leading_number(text, rest);
  if (!rest.empty()) throw Error(ErrorKind::kUsage, fmt::format("'{}' is not a number", text));
  return value;
}

double parse_fraction(std::string_view text) {
  const bool in_percent = text.ends_with('%');
  if (in_percent) text.remove_suffix(1);
  return parse_real(text) / (in_percent ? 100 : 1);
}

std::string human_bytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < std::size(kUnits); ++unit) value /= 1000;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.3g} {}", value, kUnits[unit]);
}

std::string human_seconds(double seconds) {
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

std::string human_count(uint64_t count) {
  std::string digits = std::to_string(count);
  for (size_t from_end = 3; from_end < digits.size(); from_end += 4) digits.insert(digits.size() - from_end, 1, ' ');
  return digits;
}

std::string percent(double fraction) { return fmt::format("{:.1f} %", fraction * 100); }

}  // namespace awq::cli
