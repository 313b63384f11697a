// The figures of `awq bench --kernels` on a GPU, and what is computed from them without a device at hand.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "awq/devices.h"
#include "bench/shapes.h"
#include "bench/statistics.h"

namespace awq::bench {

inline constexpr std::string_view kDense = "cublas_f16";

// One kernel at one shape. Shares are of what the same run measured, 1 = 100 %.
struct KernelTiming {
  std::string kernel;                         // row name, or kDense
  std::vector<std::string> versions = {};     // what stands for this row here: "auto", "gemv", "gemm"
  int64_t m = 0, n = 0, k = 0;                // tokens, output and input features
  int group = 0;                              // 0: dense
  double us_p05 = 0, us_p50 = 0, us_p95 = 0;  // a launch, launches back to back as a decoder makes them
  std::optional<double> us_isolated = {};     // median of launches that each wait for the end of the one before
  double gb_per_s = 0, share_of_read = 0;     // 4-bit weights, scales and zero points (dense: f16 weights)
  double floor_us = 0, times_floor = 0;       // the best plain read of the shape's 4-bit bytes
  double tflop_per_s = 0;                     // 2 m n k
  std::optional<double> share_of_dense = {};  // rate against fp16 cuBLAS at the same m, n, k
  std::optional<double> relative_error = {};  // ||y - float64|| / ||float64||; not taken of dense
  double sm_mhz = 0;

  bool chosen_by(std::string_view version) const;
};

struct CudaBenchReport {
  DeviceInfo device;
  std::string commit, date;
  bool bf16 = false;
  double read_gb_per_s = 0;  // plain read of 2 GiB
  std::vector<LinearShape> shapes;
  std::vector<KernelTiming> rows;
  std::vector<std::string> notes;     // what was left out, and why
  std::vector<std::string> failures;  // rows that reported an error or computed something else
};

// The row that `version` ("auto", "gemv", "gemm", kDense) means at (m, n, k); null when there is none.
const KernelTiming* find_row(const CudaBenchReport&, std::string_view version, int64_t m, int64_t n, int64_t k);

// Medians against m: the line of a chart.
Curve curve_of(const CudaBenchReport&, std::string_view version, int64_t n, int64_t k);

std::vector<int64_t> tokens_of(const CudaBenchReport&);  // ascending, each once

// Geometric mean over the shapes of time(version) / time(against) at m, of the shapes that have both; 0 of none.
double mean_ratio(const CudaBenchReport&, std::string_view version, std::string_view against, int64_t m);
double mean_times_floor(const CudaBenchReport&, std::string_view version, int64_t m);

}  // namespace awq::bench
