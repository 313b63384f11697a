#include "kernels_cpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <ostream>
#include <random>

#include "awq/error.h"
#include "backend/cpu/aligned_buffer.h"
#include "backend/cpu/float_gemm.h"
#include "backend/cpu/linear_w4a16.h"
#include "bench/report_file.h"
#include "bench/statistics.h"
#include "ceilings.h"
#include "kernel_report.h"
#include "onednn_bf16.h"

namespace awq::bench {
namespace {

using backend::cpu::AlignedBuffer;
using backend::cpu::LinearW4A16;

// Copies used in turn have this size together, or twice the last-level caches: each call then reads memory, as decoding
// does.
constexpr uint64_t kColdBytes = uint64_t{512} << 20;

// Codes are uniform, scales of the size that a trained layer of this k has.
format::QuantizedLinear random_linear(LinearShape shape, int group) {
  format::QuantizedLinear linear;
  linear.n = shape.n;
  linear.k = shape.k;
  linear.group = group;
  linear.q.resize(static_cast<size_t>(shape.n * shape.k));
  linear.scales.resize(static_cast<size_t>(shape.n * linear.groups()));
  linear.zeros.resize(linear.scales.size());
  std::mt19937_64 random(1);
  for (uint8_t& q : linear.q) q = static_cast<uint8_t>(random() & 15);
  for (uint8_t& z : linear.zeros) z = static_cast<uint8_t>(random() & 15);
  for (f16_t& s : linear.scales) s = f32_to_f16(0.002f + 0.001f * static_cast<float>(random() % 1000) / 1000);
  return linear;
}

std::vector<float> random_activations(int64_t count) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(count));
  for (float& v : x) v = normal(random);
  return x;
}

// The same weights as float32, as often as needed to be cold.
class DenseCopies {
 public:
  explicit DenseCopies(const format::QuantizedLinear& linear, int copies)
      : n_(linear.n), k_(linear.k), data_(static_cast<size_t>(copies * linear.n * linear.k)) {
    for (int64_t r = 0; r < n_; ++r)
      for (int64_t c = 0; c < k_; ++c) data_.data()[r * k_ + c] = linear.dequantized(r, c);
    for (int copy = 1; copy < copies; ++copy) std::copy_n(data_.data(), n_ * k_, data_.data() + copy * n_ * k_);
  }
  MatrixView<const float> copy(int i) const { return {data_.data() + i * n_ * k_, n_, k_}; }

 private:
  int64_t n_, k_;
  AlignedBuffer<float> data_;
};

// Largest |y - float64| over up to 4 tokens and 64 rows, divided by the largest |float64|.
double relative_error(MatrixView<const float> x, MatrixView<const float> w, MatrixView<const float> y) {
  double worst = 0, largest = 0;
  for (int64_t t = 0; t < y.rows; t += std::max<int64_t>(1, y.rows / 4))
    for (int64_t r = 0; r < y.cols; r += std::max<int64_t>(1, y.cols / 64)) {
      double exact = 0;
      for (int64_t k = 0; k < x.cols; ++k) exact += double{x(t, k)} * w(r, k);
      worst = std::max(worst, std::abs(y(t, r) - exact));
      largest = std::max(largest, std::abs(exact));
    }
  return largest > 0 ? worst / largest : worst;
}

int cold_copies(uint64_t bytes) {
  const DeviceInfo& cpu = backend::cpu::cpu_info();
  const uint64_t room = std::min(std::max(kColdBytes, 2 * cpu.last_cache_bytes), cpu.memory_bytes / 8);
  return static_cast<int>(std::clamp<uint64_t>((room + bytes - 1) / bytes, 2, 4096));
}

// Everything about one shape: weights packed and dense, in as many copies as make them cold.
class ShapeBench {
 public:
  ShapeBench(const KernelBenchOptions& options, LinearShape shape, ThreadPool& pool, ReadProbe& probe)
      : options_(options),
        pool_(pool),
        probe_(probe),
        linear_(random_linear(shape, options.group > 0 ? options.group : static_cast<int>(shape.k))),
        dense_copies_(cold_copies(static_cast<uint64_t>(shape.n * shape.k) * sizeof(float))),
        dense_(linear_, dense_copies_) {}

  // Kernel by kernel, because each needs its own cold copies; then ordered by m, so that what is compared stands
  // together.
  void measure(std::vector<KernelBenchRow>& all) {
    std::vector<KernelBenchRow> rows;
    for (const int64_t m : options_.m) measure_dense(m, rows);
    for (const std::string& version : versions()) measure_version(version, rows);
    std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.m < b.m; });
    for (KernelBenchRow& row : rows) {
      row.share_of_onednn_f32 = *quickest_us(rows, row.m, "onednn_f32") / row.us_p50;
      if (const auto us = quickest_us(rows, row.m, "onednn_bf16")) row.share_of_onednn_bf16 = *us / row.us_p50;
    }
    all.insert(all.end(), rows.begin(), rows.end());
  }

 private:
  struct Operands {
    Operands(int64_t m, int64_t n, int64_t k)
        : x_data(random_activations(m * k)),
          y_data(static_cast<size_t>(m * n)),
          x(x_data.data(), m, k),
          y(y_data.data(), m, n) {}
    std::vector<float> x_data, y_data;
    MatrixView<const float> x;
    MatrixView<float> y;
  };

  static std::optional<double> quickest_us(const std::vector<KernelBenchRow>& rows, int64_t m,
                                           std::string_view kernel) {
    std::optional<double> us;
    for (const KernelBenchRow& row : rows)
      if (row.m == m && row.kernel.starts_with(kernel)) us = std::min(us.value_or(row.us_p50), row.us_p50);
    return us;
  }

  // The rows that this machine runs; by default those of its best instruction set. "auto" comes last.
  std::vector<std::string> versions() const {
    const DeviceInfo& cpu = backend::cpu::cpu_info();
    Problem problem{.m = 1, .n = linear_.n, .k = linear_.k, .group_size = linear_.group};
    std::vector<std::string> names;
    if (options_.every_row) {
      for (const KernelStatus& row : kernel_status(cpu, problem))
        if (row.why_not.empty()) names.push_back(row.name);
    } else {
      names.push_back(select_kernel(cpu, problem, "gemv"));
      problem.m = 512;  // where a gemm row is at its best
      names.push_back(select_kernel(cpu, problem, "gemm"));
    }
    names.emplace_back("auto");
    return names;
  }

  void measure_version(const std::string& version, std::vector<KernelBenchRow>& rows) {
    std::vector<LinearW4A16> copies;
    copies.emplace_back(linear_, format::SalientColumns{}, version);
    const int count = cold_copies(copies[0].bytes());
    while (std::ssize(copies) < count) copies.emplace_back(linear_, format::SalientColumns{}, version);
    for (const int64_t m : options_.m) {
      Operands o(m, linear_.n, linear_.k);
      KernelBenchRow row = timed_row(o, static_cast<double>(copies[0].bytes()), count,
                                     [&](int i) { copies[static_cast<size_t>(i)].forward(pool_, o.x, o.y); });
      row.kernel = version == "auto" ? fmt::format("auto ({})", copies[0].kernel_for(m)) : version;
      row.group = linear_.group;
      rows.push_back(row);
    }
  }

  void measure_dense(int64_t m, std::vector<KernelBenchRow>& rows) {
    Operands o(m, linear_.n, linear_.k);
    const double bytes = double(linear_.n) * double(linear_.k) * sizeof(float);
    rows.push_back(
        timed_row(o, bytes, dense_copies_, [&](int i) { backend::cpu::matmul_nt(pool_, o.x, dense_.copy(i), o.y); }));
    rows.back().kernel = "onednn_f32_tiles";
    with_onednn_threads(pool_.size(), [&] {
      rows.push_back(timed_row(o, bytes, dense_copies_, [&](int i) { onednn_matmul(o.x, dense_.copy(i), o.y); }));
    });
    rows.back().kernel = "onednn_f32_team";
    if (backend::cpu::cpu_info().features & kAmxBf16) measure_bf16(o, rows);
  }

  void measure_bf16(const Operands& o, std::vector<KernelBenchRow>& rows) {
    const double bytes = double(linear_.n) * double(linear_.k) * 2;
    const int copies = cold_copies(static_cast<uint64_t>(bytes));
    with_onednn_threads(pool_.size(), [&] {
      OnednnBf16 product(o.x, dense_.copy(0), o.y, copies);
      rows.push_back(timed_row(o, bytes, copies, [&](int i) { product.run(i); }));
    });
    rows.back().kernel = "onednn_bf16_packed";
  }

  KernelBenchRow timed_row(const Operands& o, double bytes, int copies, const std::function<void(int)>& launch) {
    const double read_before = probe_.bytes_per_second();
    const std::vector<double> us = time_calls(copies, options_.seconds, 5, launch);
    KernelBenchRow row;
    row.m = o.x.rows;
    row.n = linear_.n;
    row.k = linear_.k;
    row.us_p05 = percentile(us, 0.05);
    row.us_p50 = percentile(us, 0.5);
    row.us_p95 = percentile(us, 0.95);
    row.gb_per_s = bytes / row.us_p50 * 1e-3;
    const double read_after = probe_.bytes_per_second();
    row.share_of_read = row.gb_per_s * 1e9 / std::max(read_before, read_after);
    row.gflop_per_s = 2e-3 * double(row.m) * double(row.n) * double(row.k) / row.us_p50;
    row.max_rel_error = relative_error(o.x, dense_.copy(0), o.y);
    return row;
  }

  const KernelBenchOptions& options_;
  ThreadPool& pool_;
  ReadProbe& probe_;
  format::QuantizedLinear linear_;
  int dense_copies_;
  DenseCopies dense_;
};

}  // namespace

KernelBenchReport measure_kernels(const KernelBenchOptions& options, std::ostream& log) {
  ThreadPool pool(options.threads);
  const DeviceInfo& cpu = backend::cpu::cpu_info();
  KernelBenchReport report;
  report.cpu = cpu.name;
  report.instruction_sets = cpu.architecture;
  report.cores = pool.size();
  report.commit = options.commit;
  report.date = today();
  ReadProbe probe(pool, cpu.memory_bytes);
  for (const LinearShape& shape : options.shapes) {
    if (options.group > 0 && shape.k % options.group != 0)
      throw Error(ErrorKind::kUsage, fmt::format("k = {} is not a multiple of the group {}", shape.k, options.group));
    log << fmt::format("timing {} x {} at {} numbers of tokens\n", shape.n, shape.k, options.m.size()) << std::flush;
    ShapeBench(options, shape, pool, probe).measure(report.rows);
  }
  report.read_gb_per_s_min = probe.slowest() * 1e-9;
  report.read_gb_per_s_max = probe.quickest() * 1e-9;
  return report;
}

int run_kernel_bench(const KernelBenchOptions& options, std::ostream& out, std::ostream& log) {
  const KernelBenchReport report = measure_kernels(options, log);
  if (options.json)
    write_json(report, out);
  else
    write_table(report, out);
  if (!options.csv.empty()) log << "rows written to " << write_csv(report, options.csv) << '\n';
  return 0;
}

}  // namespace awq::bench
