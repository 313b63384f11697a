#include "run/score.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "awq/error.h"

namespace awq::run {
namespace {

TEST(LogSumExp, IsExactWhereTheSumIs) {
  EXPECT_DOUBLE_EQ(log_sum_exp(std::vector<float>(8, 0.f)), std::log(8.0));
  EXPECT_DOUBLE_EQ(log_sum_exp(std::vector<float>{1e4f, 1e4f}), 1e4 + std::log(2.0)) << "must not overflow";
  EXPECT_DOUBLE_EQ(log_sum_exp(std::vector<float>{-1e4f}), -1e4);
}

TEST(ScorePosition, EqualsTheHandComputation) {
  // Logits 0 and ln 3 (in float): p = 1/4, 3/4. Reference 0, 0: p = 1/2, 1/2.
  const std::vector<float> model = {0, std::log(3.f)}, reference = {0, 0};
  const PositionScore s = score_position(model, reference, 0);
  EXPECT_NEAR(s.nll, std::log(4.0), 1e-7);  // ln 3 rounded to float32: 2^-24
  EXPECT_DOUBLE_EQ(s.reference_nll, std::log(2.0));
  EXPECT_NEAR(s.kl, 0.5 * std::log(2.0) + 0.5 * std::log(2.0 / 3.0), 1e-7);
  EXPECT_FALSE(s.agrees);
  EXPECT_TRUE(score_position(model, model, 0).agrees);
  EXPECT_EQ(score_position(model, model, 1).kl, 0);
}

TEST(Summarize, MeansErrorsAndPercentile) {
  std::vector<PositionScore> scores;
  for (int i = 1; i <= 200; ++i)
    scores.push_back({.nll = i % 2 ? 1.0 : 3.0, .reference_nll = 2, .kl = i / 1000.0, .agrees = i <= 50});
  EvaluateReport r;
  summarize(scores, true, r);
  EXPECT_EQ(r.scored_tokens, 200u);
  EXPECT_DOUBLE_EQ(r.nll, 2);
  EXPECT_DOUBLE_EQ(r.perplexity, std::exp(2.0));
  EXPECT_DOUBLE_EQ(r.reference_perplexity, std::exp(2.0));
  EXPECT_NEAR(r.nll_stderr, std::sqrt(200.0 / 199 / 200), 1e-12);
  EXPECT_NEAR(r.kl, 0.1005, 1e-12);
  EXPECT_NEAR(r.kl_p99, 0.198, 1e-12) << "99 % of 200 values are the 198 smallest";
  EXPECT_DOUBLE_EQ(r.top1_agreement, 0.25);
}

TEST(Summarize, RefusesScoresThatAreNoNumbers) {
  EvaluateReport r;
  const std::vector<PositionScore> bad = {{.nll = std::numeric_limits<double>::quiet_NaN()}};
  EXPECT_THROW(summarize(bad, false, r), Error);
}

}  // namespace
}  // namespace awq::run
