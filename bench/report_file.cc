#include "bench/report_file.h"

#include <fmt/format.h>

#include <cctype>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "awq/error.h"

namespace awq::bench {

std::string slug(const std::string& name) {
  std::string out;
  for (const unsigned char c : name) {
    if (std::isalnum(c))
      out += static_cast<char>(std::tolower(c));
    else if (!out.empty() && out.back() != '-')
      out += '-';
  }
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out;
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  return fmt::format("{:04}-{:02}-{:02}", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday);
}

std::string write_report_file(const std::string& target, const std::string& name, const std::string& text) {
  std::filesystem::path file = target;
  if (std::filesystem::is_directory(file)) file /= name;
  std::ofstream out(file, std::ios::trunc);
  out << text;
  out.flush();
  if (!out)
    throw Error(ErrorKind::kFailure, fmt::format("cannot write the benchmark's figures to '{}'", file.string()));
  return file.string();
}

}  // namespace awq::bench
