// What selection promises for any table, device, problem and version.
#pragma once
#include <gtest/gtest.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "awq/error.h"
#include "backend/kernel_table.h"

namespace awq::backend::test {

inline bool is_asked_for(const KernelTraits& row, std::string_view version) {
  return version == "auto" || version == name(row.family) || version == row.name;
}

// A row that fits and was asked for, or an Error of the kind the header promises.
inline void expect_row_or_reason(std::span<const KernelTraits> rows, const Problem& p, const DeviceInfo& d,
                                 std::string_view version) {
  try {
    const KernelTraits& row = rows[select_row(rows, p, d, version)];
    EXPECT_EQ(refusal(row, p, d), "");
    EXPECT_TRUE(is_asked_for(row, version));
  } catch (const Error& e) {
    for (const KernelTraits& row : rows)
      EXPECT_FALSE(is_asked_for(row, version) && refusal(row, p, d).empty()) << row.name << " would have done";
    const bool says_hardware =
        std::string_view(e.what()).starts_with("Kernel version not supported on this hardware: ");
    EXPECT_EQ(e.kind(), says_hardware ? ErrorKind::kDevice : ErrorKind::kBadInput) << e.what();
  }
}

inline std::vector<std::string> versions_of(std::span<const KernelTraits> rows) {
  std::vector<std::string> versions = {"auto", "gemm", "gemv"};
  for (const KernelTraits& row : rows) versions.emplace_back(row.name);
  return versions;
}

}  // namespace awq::backend::test
