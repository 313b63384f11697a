// The words for a problem and a family; apart from devices.cc because the CUDA plugin has them too, without the CPU's
// kernels.
#include <fmt/format.h>

#include "awq/devices.h"

namespace awq {

std::string to_string(const Problem& p) {
  return fmt::format("m={} n={} k={} group={}{}", p.m, p.n, p.k, p.group_size, p.bf16 ? " bf16" : "");
}

std::string_view name(KernelFamily family) { return family == KernelFamily::kGemv ? "gemv" : "gemm"; }

}  // namespace awq
