#include "backend/cpu/row_ops.h"

#include "backend/cpu/linear_w4a16.h"

namespace awq::backend::cpu {

extern const RowOps kRowOpsPortable, kRowOpsAvx2, kRowOpsAvx512;

std::span<const RowOps> row_ops_table() {
#if defined(__x86_64__)
  static const RowOps table[] = {kRowOpsAvx512, kRowOpsAvx2, kRowOpsPortable};
#else
  static const RowOps table[] = {kRowOpsPortable};
#endif
  return table;
}

const RowOps& row_ops() {
  static const RowOps& best = []() -> const RowOps& {
    for (const RowOps& row : row_ops_table())
      if ((row.features & ~cpu_info().features) == 0) return row;
    return kRowOpsPortable;
  }();
  return best;
}

}  // namespace awq::backend::cpu
