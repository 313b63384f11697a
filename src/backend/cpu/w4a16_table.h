// The CPU's kernel rows: the traits that selection reads, and the function to call.
#pragma once
#include <span>

#include "backend/cpu/w4a16_views.h"
#include "backend/kernel_table.h"

namespace awq::backend::cpu {

struct CpuKernelRow {
  KernelTraits traits;
  KernelFn run;
  int64_t tile_step;  // tiles that one pass computes together: tasks are cut at its multiples
  TokenLayout layout = TokenLayout::kPairs;
};

std::span<const CpuKernelRow> cpu_kernel_rows();  // best first; cpu_kernels() gives their traits alone

}  // namespace awq::backend::cpu
