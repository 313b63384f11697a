#include "bench/cuda_rows.h"

#include <algorithm>

namespace awq::bench {

bool KernelTiming::chosen_by(std::string_view version) const {
  return version == kDense ? kernel == kDense : std::ranges::find(versions, version) != versions.end();
}

const KernelTiming* find_row(const CudaBenchReport& report, std::string_view version, int64_t m, int64_t n, int64_t k) {
  for (const KernelTiming& row : report.rows)
    if (row.m == m && row.n == n && row.k == k && row.chosen_by(version)) return &row;
  return nullptr;
}

Curve curve_of(const CudaBenchReport& report, std::string_view version, int64_t n, int64_t k) {
  Curve curve;
  for (const int64_t m : tokens_of(report))
    if (const KernelTiming* row = find_row(report, version, m, n, k))
      curve.push_back({static_cast<double>(m), row->us_p50});
  return curve;
}

std::vector<int64_t> tokens_of(const CudaBenchReport& report) {
  std::vector<int64_t> tokens;
  for (const KernelTiming& row : report.rows) tokens.push_back(row.m);
  std::ranges::sort(tokens);
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  return tokens;
}

double mean_ratio(const CudaBenchReport& report, std::string_view version, std::string_view against, int64_t m) {
  std::vector<double> ratios;
  for (const LinearShape& shape : report.shapes) {
    const KernelTiming* row = find_row(report, version, m, shape.n, shape.k);
    const KernelTiming* other = find_row(report, against, m, shape.n, shape.k);
    if (row && other) ratios.push_back(row->us_p50 / other->us_p50);
  }
  return geometric_mean(ratios);
}

double mean_times_floor(const CudaBenchReport& report, std::string_view version, int64_t m) {
  std::vector<double> ratios;
  for (const LinearShape& shape : report.shapes)
    if (const KernelTiming* row = find_row(report, version, m, shape.n, shape.k)) ratios.push_back(row->times_floor);
  return geometric_mean(ratios);
}

}  // namespace awq::bench
