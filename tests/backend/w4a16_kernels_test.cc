// Every row of the CPU kernel table (skipped, with the reason, where this machine lacks the instructions), over ragged
// shapes: exact arithmetic with tolerance zero, a mutation test of that test, a derived bound on random data, and
// equality of bits between rows and thread counts.
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "awq/error.h"
#include "backend/cpu/linear_w4a16.h"
#include "backend/cpu/w4a16_weights.h"
#include "backend/w4a16_cases.h"

namespace awq::backend::cpu {
namespace {

using namespace awq::testing;

constexpr float kPoison = -12345.f;

// y (m, n) of a row; y lies in a wider buffer whose every other number must stay as it was.
std::vector<float> run(const Case& c, std::string_view row, int threads = 1) {
  const auto& [m, n, k, group] = c.shape;
  ThreadPool pool(threads);
  const int64_t stride = n + 3;
  std::vector<float> wide((m + 1) * stride, kPoison), y;
  LinearW4A16(c.linear, c.salient, row).forward(pool, {c.x.data(), m, k}, {wide.data(), m, n, stride});
  for (int64_t t = 0; t < m; ++t) y.insert(y.end(), wide.begin() + t * stride, wide.begin() + t * stride + n);
  for (int64_t i = 0; i < std::ssize(wide); ++i)
    if (i >= m * stride || i % stride >= n) {
      EXPECT_EQ(wide[i], kPoison) << "written outside y at " << i;
    }
  return y;
}

std::vector<std::string> row_names() {
  std::vector<std::string> names;
  for (const KernelTraits& row : cpu_kernels()) names.emplace_back(row.name);
  return names;
}

// m around every slice width, n with and without whole tiles, k of one and several groups, groups cut into blocks.
std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (const int64_t m : {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 33, 130}) all.push_back({m, 40, 256, 128});
  for (const int64_t n : {1, 8, 15, 16, 17, 24, 48, 56, 64, 100}) all.push_back({3, n, 128, 64});
  for (const int group : {8, 32, 64, 128, 192, 320, 1920}) all.push_back({9, 24, 1920, group});
  all.push_back({5, 20, 36, 36});     // one group, not a multiple of 8
  all.push_back({10, 33, 200, 200});  // one group, two blocks with a padded tail
  all.push_back({2, 16, 24, 4});
  all.push_back({1030, 17, 64, 32});  // more tokens than are packed at a time
  return all;
}

class EachRow : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    for (const KernelStatus& row : kernel_status(cpu_info(), {.m = 1, .n = 16, .k = 128}))
      if (row.name == GetParam() && !row.why_not.empty()) GTEST_SKIP() << row.name << " " << row.why_not;
  }
};
INSTANTIATE_TEST_SUITE_P(Cpu, EachRow, ::testing::ValuesIn(row_names()), [](const auto& row) { return row.param; });

TEST_P(EachRow, IsBitExactWhenNothingRounds) {
  for (const Shape& shape : shapes()) {
    SCOPED_TRACE(to_string(shape));
    const Case c = exact_case(shape);
    const std::vector<float> y = run(c, GetParam());
    for (int64_t t = 0; t < c.shape.m; ++t)
      for (int64_t r = 0; r < c.shape.n; ++r)
        ASSERT_EQ(y[t * c.shape.n + r], reference(c, t, r, kMaxBlock).value) << "token " << t << " row " << r;
  }
}

void expect_within_bound(const Case& c, std::string_view row) {
  const BlockShape blocks = block_shape(c.shape.k, c.shape.group);
  // Roundings on the way of one product: to float, two factors; then a sum a block, a salient channel (and its
  // product), a bias.
  const double depth = 3 + double(blocks.blocks()) + double(c.salient.index.size()) + 2;
  const std::vector<float> y = run(c, row);
  for (int64_t t = 0; t < c.shape.m; ++t)
    for (int64_t r = 0; r < c.shape.n; ++r) {
      const Ref ref = reference(c, t, r, blocks.block);
      ASSERT_NEAR(y[t * c.shape.n + r], ref.value, depth * 0x1p-24 * (ref.terms + ref.rounding) + ref.rounding)
          << "token " << t << " row " << r;
    }
}

TEST_P(EachRow, RoundsNoMoreThanFloat32Must) {
  for (const Shape& shape : shapes())
    for (const Zeros zeros : {Zeros::kAny, Zeros::kSymmetric}) {
      SCOPED_TRACE(to_string(shape));
      expect_within_bound(normal_case(shape, zeros, 0.05, true), GetParam());
    }
}

TEST_P(EachRow, GivesThePortableBitsOnAnyNumberOfThreads) {
  for (const Shape& shape : shapes()) {
    const Case c = normal_case(shape, Zeros::kAny, 0.05, true);
    const std::vector<float> expected = run(c, "gemv_w4a16_portable");
    for (const int threads : {1, 3}) {
      const std::vector<float> y = run(c, GetParam(), threads);
      ASSERT_EQ(std::memcmp(y.data(), expected.data(), y.size() * sizeof(float)), 0)
          << to_string(shape) << ", " << threads << " threads";
    }
  }
}

// A token's result does not depend on the tokens computed with it.
TEST_P(EachRow, GivesEachTokenTheBitsItHasAlone) {
  const Case all = normal_case({13, 40, 256, 64}, Zeros::kAny, 0.05, true);
  const std::vector<float> y = run(all, GetParam());
  for (int64_t t = 0; t < all.shape.m; ++t) {
    Case one = all;
    one.shape.m = 1;
    one.x.assign(all.x.begin() + t * 256, all.x.begin() + (t + 1) * 256);
    const std::vector<float> alone = run(one, GetParam());
    ASSERT_EQ(std::memcmp(alone.data(), y.data() + t * 40, 40 * sizeof(float)), 0) << t;
  }
}

// Moves `code` one step, runs, moves it back: row `r` of every token must have moved, and no other.
void expect_only_row_moves(Case& c, uint8_t& code, int64_t r, const std::vector<float>& before, std::string_view row) {
  code ^= 1;
  const std::vector<float> after = run(c, row);
  code ^= 1;
  for (int64_t i = 0; i < std::ssize(after); ++i)
    ASSERT_EQ(after[i] != before[i], i % c.shape.n == r) << "output " << i;
}

// Tests the exact test: no weight and no zero point can be one step off without its output saying so.
TEST_P(EachRow, EveryWeightMatters) {
  for (const int64_t m : {1, 10}) {
    Case c = exact_case({m, 19, 80, 40});
    const std::vector<float> before = run(c, GetParam());
    for (int64_t r = 0; r < c.shape.n; ++r)
      for (int64_t k = 0; k < c.shape.k; ++k) {
        SCOPED_TRACE("weight " + std::to_string(r) + ", " + std::to_string(k));
        expect_only_row_moves(c, c.linear.q[r * c.shape.k + k], r, before, GetParam());
      }
  }
}

// x = 1 everywhere in a group: its zero point moves the output by the scale times the group.
TEST_P(EachRow, EveryZeroPointMatters) {
  Case c = exact_case({3, 35, 96, 32});
  std::fill(c.x.begin(), c.x.end(), 1.f);
  const std::vector<float> before = run(c, GetParam());
  for (int64_t r = 0; r < c.shape.n; ++r)
    for (int64_t g = 0; g < 3; ++g) expect_only_row_moves(c, c.linear.zeros[r * 3 + g], r, before, GetParam());
}

TEST_P(EachRow, LargestSumsStayWithinInt32) {
  Case c = exact_case({9, 16, 256, 128});
  std::fill(c.linear.q.begin(), c.linear.q.end(), uint8_t{15});
  std::fill(c.linear.zeros.begin(), c.linear.zeros.end(), uint8_t{0});
  std::fill(c.x.begin(), c.x.end(), 32767.f);
  const std::vector<float> y = run(c, GetParam());
  for (size_t i = 0; i < y.size(); ++i) {
    const Ref ref = reference(c, 0, static_cast<int64_t>(i % 16), kMaxBlock);
    EXPECT_NEAR(y[i], ref.value, 4 * 0x1p-24 * ref.terms);
  }
}

TEST_P(EachRow, NotANumberStaysInItsToken) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    Case c = exact_case({3, 17, 128, 32});
    const std::vector<float> before = run(c, GetParam());
    c.x[128 + 70] = bad;
    const std::vector<float> y = run(c, GetParam());
    for (int64_t i = 0; i < std::ssize(y); ++i) {
      const bool hit = i / 17 == 1;
      EXPECT_TRUE(hit ? std::isnan(y[i]) : y[i] == before[i]) << i;
    }
  }
}

TEST(LinearW4A16, NamesTheKernelOfEachM) {
  const Case c = exact_case({1, 32, 128, 128});
  const LinearW4A16 automatic(c.linear, {}), gemm(c.linear, {}, "GEMM"), gemv(c.linear, {}, "gemv");
  EXPECT_TRUE(automatic.kernel_for(1).starts_with("gemv_w4a16_"));
  EXPECT_TRUE(automatic.kernel_for(512).starts_with("gemm_w4a16_"));
  EXPECT_TRUE(gemm.kernel_for(1).starts_with("gemm_w4a16_"));
  EXPECT_TRUE(gemv.kernel_for(512).starts_with("gemv_w4a16_"));
  EXPECT_EQ(automatic.kernel_for(1, "gemm"), gemm.kernel_for(1));
  EXPECT_THROW(LinearW4A16(c.linear, {}, "marlin"), Error);
}

TEST(LinearW4A16, RunsAnyVersionOnTheSameWeights) {
  const Case c = exact_case({3, 32, 128, 128});
  const LinearW4A16 automatic(c.linear, {}), gemm(c.linear, {}, "gemm");
  ThreadPool pool(1);
  std::vector<float> named(3 * 32), built(3 * 32);
  const MatrixView<const float> x(c.x.data(), 3, 128);
  automatic.forward(pool, x, {named.data(), 3, 32}, "gemm");
  gemm.forward(pool, x, {built.data(), 3, 32});
  EXPECT_EQ(named, built);
  EXPECT_THROW(automatic.forward(pool, x, {named.data(), 3, 32}, "marlin"), Error);
}

TEST(LinearW4A16, ReadsLittleMoreThanFourBitsAWeight) {
  const Case c = exact_case({1, 64, 1024, 128});
  EXPECT_DOUBLE_EQ(8.0 * LinearW4A16(c.linear, {}).bytes() / (64 * 1024), 4.15625);
}

TEST(LinearW4A16, RefusesEightBitCodes) {
  Case c = exact_case({1, 16, 128, 128});
  c.linear.bits = 8;
  EXPECT_THROW(LinearW4A16(c.linear, {}), Error);
}

}  // namespace
}  // namespace awq::backend::cpu
