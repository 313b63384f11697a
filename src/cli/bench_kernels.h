// `awq bench --kernels`: the options and the answer; the measuring is bench/kernels_cpu.h's.
#pragma once
#include <string>

#include "bench/kernels_cpu.h"

namespace awq::cli {

class Args;

struct KernelBenchRequest {
  bool wanted = false;
  std::string shapes = "4096x4096,11008x4096", tokens = "1,2,4,8,16,32,64,128,512";
  bench::KernelBenchOptions options;
};

void declare_kernel_bench(Args&, KernelBenchRequest&);
int run_kernel_bench(const Args&, KernelBenchRequest&, int threads);

}  // namespace awq::cli
