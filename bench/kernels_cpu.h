// `awq bench --kernels` on the CPU: every kernel row over shapes and numbers of tokens, cold weights, beside the
// measured read bandwidth and oneDNN's float32 and, where the CPU has AMX for it, bfloat16 products.
#pragma once
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "bench/shapes.h"

namespace awq::bench {

struct KernelBenchOptions {
  std::vector<LinearShape> shapes = {{4096, 4096}, {11008, 4096}};
  std::vector<int64_t> m = {1, 2, 4, 8, 16, 32, 64, 128, 512};
  int group = 128;                 // -1: one group
  int threads = 0;                 // 0 = all cores
  bool every_row = false;          // also the rows of lesser instruction sets
  double seconds = 0.4;            // per row
  std::string csv;                 // file, or a folder in which the file is named after the CPU; empty = none
  bool json = false;               // rows as JSON instead of a table
  std::string commit = "unknown";  // of this build, for the rows
};

// One kernel at one shape. Shares are of what this run measured, 1 = 100 %; memory reads just before and after the row,
// the higher of the two.
struct KernelBenchRow {
  std::string kernel;  // row name; "auto (<row>)"; "onednn_f32_tiles", "onednn_f32_team": dense float32, two
                       // threadings; "onednn_bf16_packed": dense bfloat16
  int64_t m = 0, n = 0, k = 0;
  int group = 0;  // 0: dense
  double us_p05 = 0, us_p50 = 0, us_p95 = 0;
  double gb_per_s = 0;  // weights as stored, scales and zero points counted in
  double share_of_read = 0;
  double gflop_per_s = 0;
  double share_of_onednn_f32 = 0;              // against the quicker of its two threadings at the same m, n, k
  std::optional<double> share_of_onednn_bf16;  // where the CPU has AMX-BF16
  double max_rel_error = 0;                    // largest |y - float64| / largest |float64| over a sample of outputs
};

struct KernelBenchReport {
  std::string cpu, instruction_sets, commit, date;
  int cores = 0;
  double read_gb_per_s_min = 0, read_gb_per_s_max = 0;  // over the run
  std::vector<KernelBenchRow> rows;
};

// Measures; `log` gets a line a shape as it goes.
KernelBenchReport measure_kernels(const KernelBenchOptions&, std::ostream& log);

// Measures and prints: the table or JSON to `out`, progress to `log`, the CSV to its file. Returns 0; throws Error.
int run_kernel_bench(const KernelBenchOptions&, std::ostream& out, std::ostream& log);

}  // namespace awq::bench
