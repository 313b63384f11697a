#include "run/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "awq/error.h"
#include "core/random.h"

namespace awq::run {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::map<int32_t, int> draws(const SamplingOptions& options, const std::vector<float>& logits, int count) {
  Sampler sample(options, std::ssize(logits));
  std::map<int32_t, int> seen;
  for (int i = 0; i < count; ++i) ++seen[sample(logits)];
  return seen;
}

std::vector<int32_t> sequence(uint64_t seed, int count) {
  const std::vector<float> logits = {0, 1, 2, 1, 0, -1};
  Sampler sample({.temperature = 1, .seed = seed}, std::ssize(logits));
  std::vector<int32_t> out;
  for (int i = 0; i < count; ++i) out.push_back(sample(logits));
  return out;
}

TEST(Greedy, TakesTheLargestAndTheLowestIdAmongEquals) {
  Sampler sample({}, 4);
  EXPECT_EQ(sample(std::vector<float>{1, 3, 3, 2}), 1);
  EXPECT_EQ(sample(std::vector<float>{kNaN, -5, kNaN, -6}), 1);
  EXPECT_THROW(sample(std::vector<float>{kNaN, kNaN}), Error);
}

TEST(Sampler, DrawsEachTokenAsOftenAsItsProbabilitySays) {
  const std::vector<float> logits = {0.5f, 2.f, -1.f, 1.f, 0.f};
  constexpr int kDraws = 20000;
  for (const float temperature : {0.5f, 1.f, 2.f}) {
    double total = 0;
    for (const float l : logits) total += std::exp(l / temperature);
    auto seen = draws({.temperature = temperature, .seed = 3}, logits, kDraws);
    for (int32_t id = 0; id < 5; ++id) {
      const double p = std::exp(logits[id] / temperature) / total;
      // Five standard deviations of a binomial count: one wrong alarm in 10^6, and the seed is fixed.
      EXPECT_NEAR(seen[id], kDraws * p, 5 * std::sqrt(kDraws * p * (1 - p))) << "T " << temperature << " token " << id;
    }
  }
}

TEST(Sampler, TheSeedDecidesTheSequence) {
  EXPECT_EQ(sequence(7, 50), sequence(7, 50));
  EXPECT_NE(sequence(7, 50), sequence(8, 50));
  // Worked out apart from this code, in Python integers: a change here changes what a seed means to users.
  EXPECT_THAT(sequence(42, 12), testing::ElementsAre(2, 4, 2, 5, 2, 4, 3, 1, 4, 5, 2, 2));
}

TEST(TopK, LeavesTheKMostLikelyWithTheLowerIdAmongEquals) {
  const std::vector<float> logits = {1, 1, 1, 0, 1};
  const auto seen = draws({.temperature = 5, .top_k = 2}, logits, 300);
  EXPECT_EQ(seen.size(), 2u);
  EXPECT_TRUE(seen.contains(0) && seen.contains(1));
}

TEST(TopK, OneIsGreedyAndMoreThanTheVocabularyIsOff) {
  EXPECT_EQ(draws({.temperature = 100, .top_k = 1}, {0, 0.1f, 0}, 50).size(), 1u);
  EXPECT_EQ(draws({.temperature = 100, .top_k = 99}, {0, 0.1f, 0}, 50).size(), 3u);
}

TEST(TopP, KeepsTheFewestTokensThatHoldP) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  EXPECT_EQ(draws({.temperature = 1, .top_p = 0.f}, logits, 200).size(), 1u);  // never none
  EXPECT_EQ(draws({.temperature = 1, .top_p = 0.45f}, logits, 200).size(), 1u);
  EXPECT_EQ(draws({.temperature = 1, .top_p = 0.6f}, logits, 200).size(), 2u);
  EXPECT_EQ(draws({.temperature = 1, .top_p = 0.85f}, logits, 200).size(), 3u);
}

TEST(TopP, CountsWithinWhatTopKLeft) {  // of {0.5, 0.3} the first holds 62.5 %
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  EXPECT_EQ(draws({.temperature = 1, .top_k = 2, .top_p = 0.6f}, logits, 200).size(), 1u);
}

TEST(TopP, SortsAsDeepAsItMust) {  // uniform over 1,000: 0.5 keeps exactly the 500 lowest ids
  const std::vector<float> logits(1000, 1.f);
  for (const auto& [id, count] : draws({.temperature = 1, .top_p = 0.4999f}, logits, 3000)) EXPECT_LT(id, 500);
  EXPECT_GT(draws({.temperature = 1, .top_p = 0.4999f}, logits, 3000).size(), 450u);
}

TEST(Sampler, RefusesWhatMeansNothing) {
  for (const SamplingOptions& bad : {SamplingOptions{.temperature = -1}, SamplingOptions{.temperature = kNaN},
                                     SamplingOptions{.top_k = -1}, SamplingOptions{.top_p = 1.5f}}) {
    try {
      Sampler sample(bad, 4);
      FAIL() << "accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUsage);
    }
  }
}

// The definition in float64, straight from its words; u as the sampler's generator gives it.
int32_t defined(const std::vector<float>& logits, const SamplingOptions& o, double u) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  if (o.top_k > 0 || o.top_p < 1)
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  if (o.top_k > 0) order.resize(std::min<size_t>(order.size(), o.top_k));
  const double largest = *std::max_element(logits.begin(), logits.end());
  const auto weight = [&](int32_t id) { return std::exp((logits[id] - largest) / o.temperature); };
  const auto through = [&](double least) {  // the tokens in order until their weight is at least, or beyond, this
    double held = 0;
    size_t count = 0;
    while (count < order.size() && (held += weight(order[count])) < least) ++count;
    return count;
  };
  const auto total = [&] {
    double sum = 0;
    for (const int32_t id : order) sum += weight(id);
    return sum;
  };
  if (o.top_p < 1) order.resize(std::min(order.size(), through(o.top_p * total()) + 1));
  return order[std::min(order.size() - 1, through(u * total()))];
}

// Weights are integers of 2^-39 of the largest, uniform numbers have 53 bits: of 10,000 draws none lies so near to a
// border that the float64 definition falls on its other side.
TEST(Sampler, IsTheDefinitionInFloat64) {
  std::vector<float> logits(1000);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = 8 * (random_unit(1, "logit", i) + random_unit(2, "logit", i));
  for (const SamplingOptions& options :
       {SamplingOptions{.temperature = 0.7f}, SamplingOptions{.temperature = 1, .top_k = 40},
        SamplingOptions{.temperature = 1.3f, .top_p = 0.9f},
        SamplingOptions{.temperature = 2, .top_k = 200, .top_p = 0.8f, .seed = 9}}) {
    Sampler sample(options, std::ssize(logits));
    for (int i = 0; i < 2500; ++i) {
      const double u = sample.next_draw().uniform;
      ASSERT_EQ(sample(logits), defined(logits, options, u)) << "T " << options.temperature << " draw " << i;
    }
  }
}

TEST(Sampler, NeverDrawsNaNOrMinusInfinity) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(draws({.temperature = 1}, {kNaN, 0, -inf, kNaN}, 50).size(), 1u);
}

}  // namespace
}  // namespace awq::run
