#include "bench/single_query.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "fake_report.h"

namespace awq::bench {
namespace {

using testing::HasSubstr;

const auto kSilent = [](const BenchStep&) {};

SingleQueryReport measured(FakeLab& lab) {
  CudaBenchOptions options;
  options.m = {1, 2, 4, 8, 16};
  options.commit = "abc1234";
  return measure_single_query(lab, fake_gpu(), find_model_shapes("llama3-8b"), options, kSilent);
}

TEST(SingleQuery, AddsUpTheLinearsOfAllLayers) {
  FakeLab lab;
  const SingleQueryReport report = measured(lab);
  double bytes = 0;
  for (const ModelLinear& linear : find_model_shapes("llama3-8b").linears)
    bytes += static_cast<double>(quantized_bytes({.m = 1, .n = linear.n, .k = linear.k}));
  EXPECT_NEAR(*report.rows[0].gemv, 32 * (bytes / 4e12 + 4 * 1e-6), 1e-12);
  EXPECT_NEAR(*report.rows[0].gemm, 32 * (bytes / 4e12 + 4 * 10e-6), 1e-12);
  EXPECT_EQ(*report.rows[0].automatic, *report.rows[0].gemv);
  EXPECT_GT(*report.rows[0].dense, *report.rows[0].gemv);
}

TEST(SingleQuery, RecommendsInPlainWords) {
  FakeLab lab;
  const SingleQueryReport report = measured(lab);
  EXPECT_NEAR(*requests_from_which_gemm_wins(report), 10, 2);
  const std::string text = text_of(report);
  EXPECT_THAT(text, HasSubstr("GEMV takes "));
  EXPECT_THAT(text, HasSubstr(" % less. GEMM takes over at about "));
  EXPECT_THAT(text, HasSubstr("Leave --version at auto"));
  EXPECT_THAT(text, HasSubstr("llama3-8b on Fake <H200> & Co"));
}

TEST(SingleQuery, SaysSoWhenThereIsNoCrossover) {
  FakeLab lab;
  lab.us = [](std::string_view row, const Problem&) { return row.starts_with("gemv") ? 1. : 2.; };
  EXPECT_THAT(recommendation(measured(lab)), HasSubstr("GEMV stays ahead up to 16 parallel requests"));
  lab.us = [](std::string_view row, const Problem&) { return row.starts_with("gemv") ? 3. : 2.; };
  EXPECT_THAT(recommendation(measured(lab)), HasSubstr("GEMM is ahead from one request to 16"));
}

TEST(SingleQuery, AMissingVersionLeavesAGap) {
  FakeLab lab;
  lab.has_cublas = false;
  const SingleQueryReport report = measured(lab);
  EXPECT_FALSE(report.rows[0].dense);
  const auto json = nlohmann::json::parse(as_json(report).dump());
  EXPECT_TRUE(json["rows"][0]["cublas_f16_seconds"].is_null());
  EXPECT_TRUE(json["rows"][0]["gemv_seconds"].is_number());
  EXPECT_TRUE(json["gemm_wins_from_requests"].is_number());
}

}  // namespace
}  // namespace awq::bench
