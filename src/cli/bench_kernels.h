// `awq bench --kernels` and `awq bench --single-query`: the options and the answer; bench/ does the measuring.
#pragma once
#include <string>

#include "cli/progress.h"

namespace awq::cli {

class Args;

struct KernelBenchRequest {
  bool kernels = false, single_query = false;
  std::string shapes, tokens;  // empty: those that suit the device
  int group = 128;
  bool bf16 = false, every_row = false, isolated = false;
  std::string csv, html, peers;
  ProgressStyle progress = ProgressStyle::kAuto;

  bool wanted() const { return kernels || single_query; }
};

void declare_kernel_bench(Args&, KernelBenchRequest&);
int run_kernel_bench(const Args&, const KernelBenchRequest&, const std::string& device, int threads);

}  // namespace awq::cli
