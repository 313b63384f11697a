#include "quant/candidates.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backend/cpu/scale_search.h"

namespace awq::quant {
namespace {

// Two linears' worth of numbers small enough to follow: 2 outputs, 8 inputs, group 4, three tokens.
constexpr float kW[2][8] = {{0.11f, -0.42f, 0.93f, -0.07f, 0.28f, 0.61f, -0.35f, 0.02f},
                            {-0.57f, 0.23f, -0.14f, 0.81f, -0.66f, 0.09f, 0.47f, -0.92f}};
constexpr float kX[3][8] = {{0.5f, -1.2f, 0.3f, 8.0f, -0.4f, 0.9f, 0.1f, -0.7f},
                            {-0.8f, 0.6f, -0.2f, -6.5f, 1.1f, -0.3f, 0.4f, 0.2f},
                            {0.3f, 0.9f, -0.5f, 7.2f, 0.2f, -1.4f, -0.6f, 0.5f}};

std::vector<float> x_mean() {
  std::vector<double> sum(8);
  for (const auto& token : kX)
    for (int k = 0; k < 8; ++k) sum[k] += std::fabs(token[k]);
  return mean_abs(sum, 3);
}
std::vector<float> w_mean() {
  const MatrixView<const float> w(kW[0], 2, 8);
  return backend::cpu::weight_mean({&w, 1}, 4);
}
void expect_near(const std::vector<float>& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 2e-6) << i;
}
const Candidate& named(const std::vector<Candidate>& list, const std::string& name) {
  for (const Candidate& c : list)
    if (c.name == name) return c;
  throw std::runtime_error("no candidate " + name);
}

TEST(Candidates, Statistics) {
  expect_near(x_mean(), {0.533333, 0.9, 0.333333, 7.233333, 0.566667, 0.866667, 0.366667, 0.466667});
  expect_near(w_mean(), {0.410991, 0.367781, 0.586419, 0.537634, 0.588203, 0.548912, 0.542319, 0.516393});
}

TEST(Candidates, WorkedVectors) {
  const auto list = make_candidates(Search::kBoth, x_mean(), w_mean());
  ASSERT_EQ(list.size(), 40u);  // identity, 19 paper (ratio 0 is the identity), 20 duo
  EXPECT_EQ(list[0].name, "identity");
  expect_near(named(list, "paper 0.50").scale,
              {0.586064, 0.761319, 0.463324, 2.158316, 0.604101, 0.747088, 0.485939, 0.548213});
  expect_near(named(list, "paper 0.40").scale,
              {0.652163, 0.803995, 0.540391, 1.850512, 0.668171, 0.791949, 0.561391, 0.618243});
  expect_near(named(list, "duo 0.50").scale,
              {0.685003, 0.940659, 0.453373, 2.205688, 0.590229, 0.755602, 0.494455, 0.571650});
  expect_near(named(list, "duo 0.85").scale,
              {0.422505, 0.670231, 0.268643, 3.722410, 0.421560, 0.611235, 0.294749, 0.364475});
  for (const Search search : {Search::kNone, Search::kPaper, Search::kDuo, Search::kBoth})
    EXPECT_EQ(std::ssize(make_candidates(search, x_mean(), w_mean())), candidate_count(search));
}

TEST(Candidates, DeadChannelsKeepOneAndDoNotShiftTheOthers) {
  std::vector<float> x = x_mean();
  const auto before = make_candidates(Search::kPaper, x, w_mean());
  x.push_back(0);
  std::vector<float> w = w_mean();
  w.push_back(0.5f);
  const auto after = make_candidates(Search::kPaper, x, w);
  for (size_t c = 0; c < before.size(); ++c) {
    EXPECT_EQ(after[c].scale.back(), 1.f);
    for (int k = 0; k < 8; ++k) EXPECT_EQ(after[c].scale[k], before[c].scale[k]);
  }
}

TEST(Candidates, ExtremeActivationsStayFinite) {
  std::vector<float> x(64, 1e-30f);
  x[3] = 3e38f;
  x[4] = INFINITY;
  const std::vector<float> w(64, 0.f);
  for (const Candidate& c : make_candidates(Search::kBoth, x, w))
    for (float s : c.scale) EXPECT_TRUE(std::isfinite(s) && s > 0) << c.name;
}

TEST(Candidates, LargestChannels) {
  const float score[] = {3, 9, 9, 1, 9};
  EXPECT_EQ(largest_channels(score, 2), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(largest_channels(score, 99).size(), 5u);
  EXPECT_TRUE(largest_channels(score, 0).empty());
}

}  // namespace
}  // namespace awq::quant
