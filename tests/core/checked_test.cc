#include "core/checked.h"

#include <gmock/gmock.h>

#include "scratch.h"

namespace awq {
namespace {

using test::refusal;
using testing::HasSubstr;
constexpr uint64_t kMax = ~uint64_t{0};

TEST(CheckedTest, ResultsThatFitAreExact) {
  EXPECT_EQ(checked_mul(uint64_t{1} << 32, (uint64_t{1} << 32) - 1, "x"), kMax - (uint64_t{1} << 32) + 1);
  EXPECT_EQ(checked_mul(0, kMax, "x"), 0u);
  EXPECT_EQ(checked_add(kMax - 1, 1, "x"), kMax);
}

TEST(CheckedTest, ResultsThatDoNotFitAreErrors) {
  EXPECT_THAT(refusal([] { checked_mul(uint64_t{1} << 32, uint64_t{1} << 32, "rows times columns"); }),
              HasSubstr("rows times columns overflows 64 bits"));
  refusal([] { checked_mul(kMax, 2, "x"); });
  refusal([] { checked_add(kMax, 1, "x"); });
}

TEST(CheckedTest, AssertionsNameTheCondition) {
  EXPECT_THAT(refusal([] { AWQ_ASSERT(1 + 1 == 3); }, ErrorKind::kFailure),
              HasSubstr("internal error: 1 + 1 == 3 is false"));
}

}  // namespace
}  // namespace awq
