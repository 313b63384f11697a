#include "bench/kernels_cuda.h"

#include <gmock/gmock.h>

#include <limits>

#include "fake_report.h"

namespace awq::bench {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const auto kSilent = [](const BenchStep&) {};

TEST(KernelsCuda, EveryCellHasItsVersionsAndCublas) {
  const CudaBenchReport report = fake_report();
  for (const LinearShape& shape : report.shapes)
    for (const int64_t m : {1, 4, 16, 64})
      for (const std::string_view version :
           {std::string_view("auto"), std::string_view("gemv"), std::string_view("gemm"), kDense})
        EXPECT_NE(find_row(report, version, m, shape.n, shape.k), nullptr) << version << " at " << m;
  EXPECT_THAT(report.failures, IsEmpty());
  EXPECT_EQ(report.read_gb_per_s, 4000);
  EXPECT_EQ(report.commit, "abc1234");
}

TEST(KernelsCuda, SharesFollowFromTheTimes) {
  const CudaBenchReport report = fake_report();
  const KernelTiming& row = *find_row(report, "gemm", 4, 4096, 4096);
  // 4096 * 4096 / 2 of weights, 32 groups a row of 2 and 1/2 bytes: what the peers' table calls 8716288 bytes.
  EXPECT_EQ(quantized_bytes({.m = 4, .n = 4096, .k = 4096}), 8716288u);
  const double floor = 8716288 / 4e6;
  EXPECT_DOUBLE_EQ(row.floor_us, floor);
  EXPECT_DOUBLE_EQ(row.us_p50, floor + 10);
  EXPECT_DOUBLE_EQ(row.us_p05, 0.9 * (floor + 10));
  EXPECT_DOUBLE_EQ(row.us_p95, 1.1 * (floor + 10));
  EXPECT_DOUBLE_EQ(row.times_floor, (floor + 10) / floor);
  EXPECT_NEAR(row.share_of_read, floor / (floor + 10), 1e-12);
  EXPECT_NEAR(row.tflop_per_s, 2e-6 * 4 * 4096 * 4096 / (floor + 10), 1e-12);
  EXPECT_NEAR(*row.share_of_dense, (2e6 * 4096 * 4096 / 4e12 + 8) / (floor + 10), 1e-12);
  EXPECT_FALSE(row.us_isolated);
}

TEST(KernelsCuda, MeansAreOverTheShapes) {
  const CudaBenchReport report = fake_report();
  const double a = find_row(report, "auto", 1, 4096, 4096)->times_floor,
               b = find_row(report, "auto", 1, 1024, 2048)->times_floor;
  EXPECT_NEAR(mean_times_floor(report, "auto", 1), std::sqrt(a * b), 1e-12);
  EXPECT_LT(mean_ratio(report, "gemv", "gemm", 1), 1);
  EXPECT_GT(mean_ratio(report, "gemv", "gemm", 64), 1);
  EXPECT_NEAR(*crossover(curve_of(report, "gemv", 4096, 4096), curve_of(report, "gemm", 4096, 4096)), 10, 3);
}

TEST(KernelsCuda, EveryRowMeansEveryRowThatCanRun) {
  CudaBenchOptions options = small_options();
  options.every_row = true;
  options.shapes = parse_shapes("1024x2048");
  options.m = {1};
  const CudaBenchReport report = fake_report(options);
  size_t usable = 0;
  for (const KernelStatus& row : kernel_status(fake_gpu(), {.m = 1, .n = 1024, .k = 2048}))
    usable += row.why_not.empty();
  EXPECT_EQ(report.rows.size(), usable + 1);  // and cuBLAS
}

TEST(KernelsCuda, IsolatedLaunchesHaveTheirOwnColumn) {
  CudaBenchOptions options = small_options();
  options.isolated = true;
  const CudaBenchReport report = fake_report(options);
  EXPECT_DOUBLE_EQ(*report.rows[0].us_isolated, report.rows[0].us_p50 + 1);
}

TEST(KernelsCuda, AKernelFarBehindIsNotTimedFurther) {
  FakeLab lab;
  lab.us = [](std::string_view row, const Problem& p) { return row.starts_with("gemv") && p.m >= 4 ? 1e4 : 10.; };
  CudaBenchOptions options = small_options();
  options.shapes = parse_shapes("4096x4096");
  options.m = {1, 32, 64, 128};
  const CudaBenchReport report = measure_kernels(lab, fake_gpu(), options, kSilent);
  EXPECT_NE(find_row(report, "gemv", 32, 4096, 4096), nullptr);
  EXPECT_EQ(find_row(report, "gemv", 64, 4096, 4096), nullptr);
  EXPECT_THAT(report.notes, Contains(HasSubstr("was not timed above m = 32")));
  EXPECT_THAT(report.failures, IsEmpty());
}

TEST(KernelsCuda, WithoutCublasTheRestIsMeasured) {
  FakeLab lab;
  lab.has_cublas = false;
  const CudaBenchReport report = measure_kernels(lab, fake_gpu(), small_options(), kSilent);
  EXPECT_EQ(find_row(report, kDense, 1, 4096, 4096), nullptr);
  EXPECT_FALSE(find_row(report, "auto", 1, 4096, 4096)->share_of_dense);
  EXPECT_GT(find_row(report, "auto", 1, 4096, 4096)->times_floor, 1);
  EXPECT_THAT(report.notes, Contains(HasSubstr("libcublasLt.so.13")));
  EXPECT_EQ(report.notes.size(), 1u);  // said once
}

TEST(KernelsCuda, AWrongResultIsAFailure) {
  FakeLab lab;
  lab.error = [](std::string_view row, const Problem& p) {
    return row.starts_with("gemm") && p.m == 4 ? std::numeric_limits<double>::infinity() : 2e-4;
  };
  const CudaBenchReport report = measure_kernels(lab, fake_gpu(), small_options(), kSilent);
  ASSERT_EQ(report.failures.size(), 2u);  // one a shape
  EXPECT_THAT(report.failures[0], AllOf(HasSubstr("m=4"), HasSubstr("relative error inf")));
  lab.error = [](auto, const Problem&) { return std::numeric_limits<double>::quiet_NaN(); };
  EXPECT_THAT(measure_kernels(lab, fake_gpu(), small_options(), kSilent).failures, Not(IsEmpty()));
}

TEST(KernelsCuda, OneFailingKernelDoesNotEndTheRunADeadDeviceDoes) {
  FakeLab lab;
  const std::string gemm = select_kernel(fake_gpu(), {.m = 1, .n = 4096, .k = 4096}, "gemm");
  lab.us = [&](std::string_view row, const Problem&) -> double {
    if (row == gemm) throw Error(ErrorKind::kDevice, "no code for this device");
    return 5;
  };
  CudaBenchOptions options = small_options();
  options.m = {1};
  const CudaBenchReport report = measure_kernels(lab, fake_gpu(), options, kSilent);
  EXPECT_EQ(report.failures.size(), 2u);
  EXPECT_NE(find_row(report, "gemv", 1, 4096, 4096), nullptr);
  lab.us = [](auto, const Problem&) -> double { throw Error(ErrorKind::kDevice, "an illegal memory access"); };
  lab.has_cublas = false;
  EXPECT_THROW(measure_kernels(lab, fake_gpu(), options, kSilent), Error);
}

TEST(KernelsCuda, WhatFailsTwiceInTheSameWayIsNotTriedAgain) {
  FakeLab lab;
  const std::string gemm = select_kernel(fake_gpu(), {.m = 1, .n = 4096, .k = 4096}, "gemm");
  lab.us = [&](std::string_view row, const Problem&) -> double {
    if (row == gemm) throw Error(ErrorKind::kDevice, "not part of this build");
    return 5;
  };
  const CudaBenchReport report = measure_kernels(lab, fake_gpu(), small_options(), kSilent);
  EXPECT_EQ(lab.timed[gemm], 2);
  EXPECT_EQ(report.failures.size(), 2u);
  EXPECT_THAT(report.notes, Contains(HasSubstr(gemm + " was not tried again")));
}

TEST(KernelsCuda, ProgressCountsEveryCellAndMayStopTheRun) {
  FakeLab lab;
  std::vector<int> done;
  measure_kernels(lab, fake_gpu(), small_options(), [&](const BenchStep& step) {
    EXPECT_EQ(step.total, 8);
    done.push_back(step.done);
  });
  EXPECT_THAT(done, testing::ElementsAre(0, 0, 1, 2, 3, 4, 5, 6, 7, 8));
  const auto stop = [](const BenchStep& step) {
    if (step.done == 2) throw Error(ErrorKind::kInterrupted, "stopped");
  };
  EXPECT_THROW(measure_kernels(lab, fake_gpu(), small_options(), stop), Error);
}

TEST(KernelsCuda, AGroupThatDoesNotDivideKIsRefused) {
  FakeLab lab;
  CudaBenchOptions options = small_options();
  options.shapes = parse_shapes("64x96");
  EXPECT_THROW(measure_kernels(lab, fake_gpu(), options, kSilent), Error);
  options.group = -1;
  options.m = {1};
  EXPECT_EQ(measure_kernels(lab, fake_gpu(), options, kSilent).rows[0].group, 96);
}

}  // namespace
}  // namespace awq::bench
