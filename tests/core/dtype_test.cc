#include "core/dtype.h"

#include <gtest/gtest.h>

namespace awq {
namespace {

// dtype_bytes() and dtype_name() index the table by the enumerator: the rows must be in its order.
TEST(DtypeTest, RowsAreInTheOrderOfTheEnumeration) {
  int i = 0;
  for (const DtypeRow& row : kDtypes) {
    EXPECT_EQ(static_cast<int>(row.dtype), i++);
    EXPECT_EQ(dtype_name(row.dtype), row.name);
    EXPECT_EQ(dtype_bytes(row.dtype), row.bytes);
    EXPECT_EQ(parse_dtype(row.name), row.dtype);
  }
  EXPECT_EQ(parse_dtype("f16"), std::nullopt);
}

}  // namespace
}  // namespace awq
