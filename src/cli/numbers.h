// Numbers as people type and read them.
#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace awq::cli {

// "512", "128k" (thousand), "128K" / "128Ki" (1024), "5GB" (10^9), "1.5GiB"; lower-case k/m/g count decimally,
// upper-case K/M/G without a B binarily, as vLLM reads them. Error(kUsage) for anything else, including a fraction of
// one.
int64_t parse_count(std::string_view text);

std::vector<int> parse_counts(std::string_view text);  // "1,2,4"; none of an empty text

double parse_real(std::string_view text);      // finite
double parse_fraction(std::string_view text);  // "1%" and "0.01" are the same

std::string human_bytes(uint64_t bytes);    // "5.73 GB"
std::string human_seconds(double seconds);  // "0.8 s", "1 min 20 s", "2 h 05 min"
std::string human_count(uint64_t count);    // "65 536"
std::string percent(double fraction);       // "71.3 %"

}  // namespace awq::cli
