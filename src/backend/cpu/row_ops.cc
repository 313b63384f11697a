#include "backend/cpu/row_ops.h"

#include <array>

namespace awq::backend::cpu {

extern const RowOps kRowOpsPortable, kRowOpsAvx2, kRowOpsAvx512;

std::span<const RowOps> row_ops_table() {
  static const std::array<RowOps, 3> table = {kRowOpsAvx512, kRowOpsAvx2, kRowOpsPortable};
  return table;
}

const RowOps& row_ops() {
  static const RowOps& best = [&]() -> const RowOps& {
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return row_ops_table()[avx512 ? 0 : avx2 ? 1 : 2];
  }();
  return best;
}

}  // namespace awq::backend::cpu
