// What `awq bench` measures with: its reference against the CPU's, its comparison against outputs known to be wrong,
// its timings against what the hardware allows.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "awq/error.h"
#include "backend/cuda/cuda_objects.h"
#include "backend/cuda/gpu/device_case.h"
#include "backend/cuda/kernel_rows.h"
#include "backend/cuda/lab/cold_linear.h"
#include "backend/cuda/lab/random_data.h"
#include "backend/cuda/lab/reference.h"
#include "backend/cuda/plugin.h"

extern "C" int awq_cuda_plugin_abi();
extern "C" const awq::backend::cuda::Plugin* awq_cuda_plugin();

namespace awq::backend::cuda::testing {
namespace {

TEST(TokenSample, TakesAllOfFewAndSpreadsOverMany) {
  const lab::TokenSample few = lab::sample_tokens(5);
  for (int64_t i = 0; i < 5; ++i) EXPECT_EQ(few.token(i), i);
  const lab::TokenSample many = lab::sample_tokens(2048);
  ASSERT_EQ(many.count, lab::kMostTokensCompared);
  std::vector<int64_t> in_tile(16);
  for (int64_t i = 0; i < many.count; ++i) {
    EXPECT_LT(many.token(i), 2048);
    if (i > 0) {
      EXPECT_GT(many.token(i), many.token(i - 1));
    }
    ++in_tile[static_cast<size_t>(many.token(i) % 16)];
  }
  EXPECT_GT(std::ranges::min(in_tile), 0);  // every row of a tile of 16 is met
}

class Lab : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
    cudaDeviceProp properties{};
    require(cudaGetDeviceProperties(&properties, 0));
    device_.kind = DeviceKind::kCuda;
    device_.capability = 10 * properties.major + properties.minor;
    device_.compute_units = properties.multiProcessorCount;
    device_.last_cache_bytes = static_cast<uint64_t>(properties.l2CacheSize);
    device_.memory_bytes = properties.totalGlobalMem;
    lab_ = awq_cuda_plugin()->open_lab(device_);
  }
  // Rows that this build and this device run for the problem.
  std::vector<std::string> rows(const Problem& p) const {
    std::vector<std::string> names;
    for (const KernelTraits& row : kCudaRows) {
      awq_cuda_linear w{};
      w.n = p.n;
      w.k = p.k;
      w.group_size = p.group_size;
      size_t bytes = 0;
      const std::string name(row.name);
      if (awq_cuda_workspace_bytes(name.c_str(), &w, AWQ_CUDA_F16, p.m, &bytes, nullptr) == AWQ_CUDA_OK)
        names.push_back(name);
    }
    return names;
  }
  DeviceInfo device_;
  std::unique_ptr<KernelLab> lab_;
};

// 3 tokens, n = 5 so that a warp's row may lie outside, k = 192 in groups of 64.
struct SmallProduct {
  static constexpr int64_t kM = 3, kN = 5, kK = 192;
  static constexpr int kGroup = 64;
  DeviceMemory q{kN * kK}, z{kN * kK / kGroup}, s{kN * kK / kGroup * 2}, x{kM * kK * 2}, ref{kM * kN * 8};
  explicit SmallProduct(bool bf16) {
    lab::fill_codes(static_cast<uint8_t*>(q.data()), kN * kK, 1, nullptr);
    lab::fill_codes(static_cast<uint8_t*>(z.data()), kN * kK / kGroup, 2, nullptr);
    lab::fill_scales(s.data(), kN * kK / kGroup, 0.01f, 3, nullptr);
    lab::fill_normal(x.data(), kM * kK, bf16, 4, nullptr);
  }
  lab::PlainLinear linear() const {
    return {kN, kK, kGroup, static_cast<const uint8_t*>(q.data()), static_cast<const uint8_t*>(z.data()), s.data()};
  }
};

TEST_F(Lab, TheReferenceIsTheDefinition) {
  for (const awq_cuda_type type : {AWQ_CUDA_F16, AWQ_CUDA_BF16}) {
    SmallProduct p(type == AWQ_CUDA_BF16);
    lab::reference_forward(static_cast<double*>(p.ref.data()), p.linear(), p.x.data(), type == AWQ_CUDA_BF16,
                           lab::sample_tokens(p.kM), nullptr);
    const auto q = p.q.download<uint8_t>(), z = p.z.download<uint8_t>();
    const auto s = p.s.download<uint16_t>(), x = p.x.download<uint16_t>();
    const auto ref = p.ref.download<double>();
    EXPECT_GT(*std::ranges::max_element(q), 12);
    EXPECT_LE(*std::ranges::max_element(q), 15);
    for (int64_t t = 0; t < p.kM; ++t)
      for (int64_t row = 0; row < p.kN; ++row) {
        double sum = 0;
        for (int64_t k = 0; k < p.kK; ++k) {
          const size_t g = static_cast<size_t>(row * (p.kK / p.kGroup) + k / p.kGroup);
          sum += double{from_bits(x[static_cast<size_t>(t * p.kK + k)], type)} * from_bits(s[g], AWQ_CUDA_F16) *
                 (q[static_cast<size_t>(row * p.kK + k)] - z[g]);
        }
        EXPECT_NEAR(ref[static_cast<size_t>(t * p.kN + row)], sum, 1e-12 * (1 + std::abs(sum)));
      }
  }
}

TEST_F(Lab, TheComparisonSeesOneWrongOutputAndPoison) {
  SmallProduct p(false);
  lab::reference_forward(static_cast<double*>(p.ref.data()), p.linear(), p.x.data(), false, lab::sample_tokens(p.kM),
                         nullptr);
  const auto ref = p.ref.download<double>();
  std::vector<uint16_t> y(ref.size());
  std::ranges::transform(ref, y.begin(), [](double v) { return to_bits(static_cast<float>(v), AWQ_CUDA_F16); });
  const auto error = [&](const std::vector<uint16_t>& outputs) {
    DeviceMemory device_y{std::span<const uint16_t>(outputs)}, sum(sizeof(lab::Difference));
    sum.upload(std::span<const lab::Difference>(std::vector<lab::Difference>(1)));
    lab::compare(static_cast<lab::Difference*>(sum.data()), device_y.data(), false,
                 static_cast<const double*>(p.ref.data()), p.kN, lab::sample_tokens(p.kM), nullptr);
    const lab::Difference d = sum.download<lab::Difference>()[0];
    return d.not_finite > 0 ? HUGE_VAL : std::sqrt(d.squared_error / d.squared_reference);
  };
  EXPECT_LT(error(y), 0x1p-11);  // one rounding
  std::vector<uint16_t> wrong = y;
  wrong[7] ^= 0x8000;  // one sign
  EXPECT_GT(error(wrong), 1e-2);
  wrong[7] = 0xffff;
  EXPECT_EQ(error(wrong), HUGE_VAL);
}

TEST_F(Lab, EveryRowIsRightAndRepeatsItself) {
  for (const int64_t m : {1, 5, 16, 40, 300}) {
    const Problem problem{.m = m, .n = 136, .k = 640, .group_size = 128};
    for (const std::string& row : rows(problem)) {
      EXPECT_LT(lab_->relative_error(row, problem), 1e-3) << row << " at m = " << m;
      EXPECT_TRUE(lab_->bit_identical(row, problem, 20)) << row << " at m = " << m;
    }
  }
}

TEST_F(Lab, TimesAreBetweenTheFloorAndReason) {
  const Problem problem{.m = 1, .n = 4096, .k = 4096, .group_size = 128};
  const double bandwidth = lab_->read_bandwidth(), floor = lab_->read_floor_us(8716288);
  EXPECT_GT(bandwidth, 5e9);
  EXPECT_LT(bandwidth, 5e13);
  EXPECT_GT(floor, 8716288 / bandwidth * 1e6 * 0.7);
  for (const std::string& row : rows(problem)) {
    LabOptions options;
    const Samples back_to_back = lab_->time_row(row, problem, options);
    options.dependent_launch = false;
    const Samples isolated = lab_->time_row(row, problem, options);
    ASSERT_FALSE(back_to_back.us.empty());
    EXPECT_GT(std::ranges::min(back_to_back.us), 0.5 * floor) << row;
    EXPECT_GT(std::ranges::min(isolated.us), 0.8 * std::ranges::min(back_to_back.us)) << row;
    EXPECT_GT(back_to_back.sm_mhz, 100) << row;
    EXPECT_LT(back_to_back.sm_mhz, 5000) << row;
  }
}

// A petabyte: the sentence says what there is, and the device goes on working.
TEST_F(Lab, NoRoomOnTheGpuIsSaidAndLeavesItUsable) {
  DeviceBuffer buffer;
  try {
    buffer.reserve(size_t{1} << 50);
    FAIL() << "allocated";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kNoRoom);
    EXPECT_NE(std::string(e.what()).find("the GPU has no room for 1125899.9 GB"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("are free"), std::string::npos) << e.what();
  }
  buffer.reserve(1 << 20);
  EXPECT_NE(buffer.as(), nullptr);
}

TEST_F(Lab, AShapeThatNoKernelTakesIsAnError) {
  EXPECT_THROW(lab_->relative_error("gemm_w4a16_portable", {.m = 1, .n = 12, .k = 128, .group_size = 128}), Error);
  EXPECT_THROW(lab_->relative_error("no_such_row", {.m = 1, .n = 64, .k = 128, .group_size = 128}), Error);
}

TEST(ColdLinear, CopiesTotalMoreThanTheCache) {
  EXPECT_EQ(lab::cold_total(256 << 20, 60 << 20), uint64_t{256} << 20);
  EXPECT_EQ(lab::cold_total(256 << 20, 200 << 20), uint64_t{400} << 20);
  EXPECT_EQ(lab::cold_copies(8716288, 256 << 20), 31);
  EXPECT_EQ(lab::cold_copies(uint64_t{1} << 30, 256 << 20), 2);
}

TEST(Plugin, HasTheInterfaceOfThisBuild) { EXPECT_EQ(awq_cuda_plugin_abi(), kPluginAbi); }

}  // namespace
}  // namespace awq::backend::cuda::testing
