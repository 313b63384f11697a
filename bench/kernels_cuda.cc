#include "bench/kernels_cuda.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "awq/error.h"
#include "bench/report_file.h"

namespace awq::bench {
namespace {

using backend::cuda::KernelLab;
using backend::cuda::LabOptions;
using backend::cuda::Samples;

// A kernel this many times slower than the quickest one is not timed at more tokens of that shape: its curve has
// been seen, and minutes would go into milliseconds a launch.
constexpr double kHopeless = 12;

// Rounding y to f16 costs 2^-12.3 = 2.0e-4 in root mean square, to bf16 1.6e-3, and rounding x * s on the way may cost
// as much again; one wrong weight in a hundred costs 0.1.
constexpr double kMostErrorF16 = 1e-3, kMostErrorBf16 = 8e-3;

// A device that has failed answers nothing any more: the other rows need not be tried.
constexpr int kFailuresInARow = 3;

struct Candidate {
  std::string kernel;
  std::vector<std::string> versions;
};

void add(std::vector<Candidate>& found, std::string kernel, std::vector<std::string> versions) {
  const auto same = std::ranges::find(found, kernel, &Candidate::kernel);
  if (same == found.end()) return found.push_back({std::move(kernel), std::move(versions)});
  same->versions.insert(same->versions.end(), versions.begin(), versions.end());
}

// The rows to time for one problem, the automatic choice first: the others are compared with it. With `every_row` all
// that can run.
std::vector<Candidate> candidates(const DeviceInfo& device, const Problem& problem, bool every_row) {
  std::vector<Candidate> found;
  add(found, select_kernel(device, problem, "auto"), {"auto"});
  for (const char* family : {"gemv", "gemm"}) {
    try {
      add(found, select_kernel(device, problem, family), {family});
    } catch (const Error&) {
      // no row of that family takes this many tokens: it has no point there
    }
  }
  if (!every_row) return found;
  for (const KernelStatus& row : kernel_status(device, problem))
    if (row.why_not.empty()) add(found, row.name, {});
  return found;
}

double median(Samples samples) {
  std::ranges::sort(samples.us);
  return percentile(samples.us, 0.5);
}

void take_samples(KernelTiming& row, Samples samples, double bytes) {
  std::ranges::sort(samples.us);
  row.us_p05 = percentile(samples.us, 0.05);
  row.us_p50 = percentile(samples.us, 0.5);
  row.us_p95 = percentile(samples.us, 0.95);
  row.sm_mhz = samples.sm_mhz;
  row.gb_per_s = bytes / row.us_p50 * 1e-3;
  row.tflop_per_s = 2e-6 * double(row.m) * double(row.n) * double(row.k) / row.us_p50;
}

class Run {
 public:
  Run(KernelLab& lab, const DeviceInfo& device, const CudaBenchOptions& options, const BenchProgress& progress)
      : lab_(lab), options_(options), progress_(progress) {
    report_.device = device;
    report_.commit = options.commit;
    report_.date = today();
    report_.bf16 = options.bf16;
    report_.shapes = options.shapes;
  }

  CudaBenchReport measure() {
    step_ = {0, static_cast<int>(options_.shapes.size() * options_.m.size()), "read bandwidth"};
    progress_(step_);
    report_.read_gb_per_s = lab_.read_bandwidth() / 1e9;
    for (const LinearShape& shape : options_.shapes) measure_shape(shape);
    step_.what = "done";
    progress_(step_);
    return std::move(report_);
  }

 private:
  void measure_shape(const LinearShape& shape) {
    Problem problem{.m = 1,
                    .n = shape.n,
                    .k = shape.k,
                    .group_size = options_.group > 0 ? options_.group : static_cast<int>(shape.k),
                    .bf16 = options_.bf16};
    hopeless_.clear();
    floor_us_ = lab_.read_floor_us(quantized_bytes(problem));
    for (const int64_t m : options_.m) {
      problem.m = m;
      step_.what = fmt::format("{}, m = {}", to_string(shape), m);
      progress_(step_);
      measure_cell(problem);
      ++step_.done;
    }
  }

  void measure_cell(const Problem& problem) {
    const size_t first = report_.rows.size();
    for (const Candidate& candidate : candidates(report_.device, problem, options_.every_row))
      if (!hopeless_.contains(candidate.kernel) && !given_up_.contains(candidate.kernel))
        measure_row(candidate, problem);
    measure_dense(problem, first);
  }

  void measure_row(const Candidate& candidate, const Problem& problem) {
    KernelTiming row = row_of(candidate.kernel, problem);
    row.versions = candidate.versions;
    row.group = problem.group_size;
    try {
      row.relative_error = lab_.relative_error(candidate.kernel, problem);
      LabOptions lab;
      take_samples(row, lab_.time_row(candidate.kernel, problem, lab), static_cast<double>(quantized_bytes(problem)));
      lab.dependent_launch = false;
      if (options_.isolated) row.us_isolated = median(lab_.time_row(candidate.kernel, problem, lab));
    } catch (const Error& error) {
      fail(row, problem, error.what());
      give_up_if_repeated(row.kernel, error.what());
      if (++failures_in_a_row_ >= kFailuresInARow) throw;
      return;
    }
    failures_in_a_row_ = 0;
    if (!(*row.relative_error <= (problem.bf16 ? kMostErrorBf16 : kMostErrorF16)))
      fail(row, problem, fmt::format("relative error {:.2e}", *row.relative_error));
    keep(row);
    give_up_if_hopeless(row);
  }

  void fail(const KernelTiming& row, const Problem& problem, std::string_view why) {
    report_.failures.push_back(fmt::format("{} at {}: {}", row.kernel, to_string(problem), why));
  }

  // The same words at two cells: it is the kernel, the build or the machine, and not the shape.
  void give_up_if_repeated(const std::string& kernel, const std::string& why) {
    if (!last_failure_.contains(kernel) || last_failure_[kernel] != why) {
      last_failure_[kernel] = why;
      return;
    }
    given_up_.insert(kernel);
    report_.notes.push_back(fmt::format("{} was not tried again after it failed twice in the same way", kernel));
  }

  void give_up_if_hopeless(const KernelTiming& row) {
    const KernelTiming* quickest = &row;
    for (const KernelTiming& other : report_.rows)
      if (other.m == row.m && other.n == row.n && other.k == row.k && other.us_p50 < quickest->us_p50)
        quickest = &other;
    if (row.us_p50 < kHopeless * quickest->us_p50) return;
    hopeless_.insert(row.kernel);
    if (row.m != options_.m.back())
      report_.notes.push_back(
          fmt::format("{} on {}x{} was not timed above m = {}: there it takes {:.0f} times as long as {}", row.kernel,
                      row.n, row.k, row.m, row.us_p50 / quickest->us_p50, quickest->kernel));
  }

  // Without cuBLAS the rows have no share of it.
  void measure_dense(const Problem& problem, size_t first_of_cell) {
    if (!dense_works_) return;
    KernelTiming dense = row_of(std::string(kDense), problem);
    try {
      take_samples(dense, lab_.time_fp16_gemm(problem, {}), 2.0 * double(problem.n) * double(problem.k));
    } catch (const Error& error) {
      dense_works_ = false;
      report_.notes.push_back(fmt::format("no figures of fp16 cuBLAS: {}", error.what()));
      return;
    }
    for (size_t i = first_of_cell; i < report_.rows.size(); ++i)
      report_.rows[i].share_of_dense = dense.us_p50 / report_.rows[i].us_p50;
    failures_in_a_row_ = 0;  // the device is alive
    keep(dense);
  }

  void keep(KernelTiming& row) {
    row.floor_us = floor_us_;
    row.times_floor = row.us_p50 / floor_us_;
    row.share_of_read = row.gb_per_s / report_.read_gb_per_s;
    report_.rows.push_back(row);
  }

  static KernelTiming row_of(std::string kernel, const Problem& problem) {
    KernelTiming row;
    row.kernel = std::move(kernel);
    row.m = problem.m;
    row.n = problem.n;
    row.k = problem.k;
    return row;
  }

  KernelLab& lab_;
  const CudaBenchOptions& options_;
  const BenchProgress& progress_;
  CudaBenchReport report_;
  BenchStep step_;
  double floor_us_ = 0;             // of the shape at hand
  std::set<std::string> hopeless_;  // kernels, at the shape at hand
  std::set<std::string> given_up_;  // kernels, for the run
  std::map<std::string, std::string> last_failure_;
  int failures_in_a_row_ = 0;
  bool dense_works_ = true;
};

}  // namespace

uint64_t quantized_bytes(const Problem& p) {
  const int64_t weights = p.n * p.k, groups = weights / p.group_size;
  return static_cast<uint64_t>(weights / 2 + groups * 2 + groups / 2);
}

CudaBenchReport measure_kernels(KernelLab& lab, const DeviceInfo& device, const CudaBenchOptions& options,
                                const BenchProgress& progress) {
  for (const LinearShape& shape : options.shapes)
    if (options.group > 0 && shape.k % options.group != 0)
      throw Error(ErrorKind::kUsage, fmt::format("k = {} is not a multiple of the group {}", shape.k, options.group));
  return Run(lab, device, options, progress).measure();
}

}  // namespace awq::bench
