#include "bench/statistics.h"

#include <gmock/gmock.h>

namespace awq::bench {
namespace {

TEST(Percentile, IsTheNearestSample) {
  const double samples[] = {1, 2, 3, 4, 5};
  EXPECT_EQ(percentile(samples, 0), 1);
  EXPECT_EQ(percentile(samples, 0.5), 3);
  EXPECT_EQ(percentile(samples, 0.95), 5);
}

TEST(GeometricMean, OfReciprocalsIsOne) {
  const double ratios[] = {0.25, 4, 2, 0.5};
  EXPECT_DOUBLE_EQ(geometric_mean(ratios), 1);
  const double two[] = {2, 8};
  EXPECT_DOUBLE_EQ(geometric_mean(two), 4);
  EXPECT_EQ(geometric_mean({}), 0);
}

TEST(Crossover, LiesBetweenTheMeasuredPoints) {
  // gemv takes m microseconds, gemm 4: equal at 4, whatever lies beside it.
  const Curve gemv = {{1, 1}, {2, 2}, {8, 8}, {16, 16}}, gemm = {{1, 4}, {2, 4}, {8, 4}, {16, 4}};
  ASSERT_TRUE(crossover(gemv, gemm));
  EXPECT_NEAR(*crossover(gemv, gemm), 4, 1e-9);
}

TEST(Crossover, IsTheLastOne) {
  const Curve few = {{1, 5}, {2, 1}, {4, 1}, {8, 9}}, many = {{1, 4}, {2, 2}, {4, 2}, {8, 3}};
  ASSERT_TRUE(crossover(few, many));
  EXPECT_GT(*crossover(few, many), 4);
  EXPECT_LT(*crossover(few, many), 8);
}

TEST(Crossover, OfCurvesThatDoNotCross) {
  const Curve quick = {{1, 1}, {64, 2}}, slow = {{1, 3}, {64, 4}};
  EXPECT_FALSE(crossover(quick, slow));
  EXPECT_DOUBLE_EQ(crossover(slow, quick).value(), 1);
}

TEST(Crossover, ComparesCommonPointsOnly) {
  const Curve few = {{1, 1}, {2, 3}}, many = {{2, 2}, {512, 1}};
  EXPECT_DOUBLE_EQ(crossover(few, many).value(), 2);
  EXPECT_FALSE(crossover(few, {}));
}

}  // namespace
}  // namespace awq::bench
