// What `awq bench MODEL` says of timings that are known: auto beside the forced versions, shares, tables.
#include "bench/model_report.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "bench/auto_choice.h"

namespace awq::bench {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

ModelTiming timing(const char* version, int64_t prompt, int64_t batch, double first_token, double step) {
  ModelTiming t{.version = version, .kernels = "k", .prompt = prompt, .batch = batch};
  t.first_token = {first_token};
  t.step = {step, step, step};
  t.step_bytes = 1'000'000'000;
  return t;
}

// gemv is best for the token of one sequence, gemm for everything else.
ModelBenchReport report(double auto_first, double auto_step) {
  ModelBenchReport r;
  r.model = "m", r.device = "Fake <H200> & Co", r.generate = 4, r.repeat = 1;
  r.read_bytes_per_s = 4e12;
  r.linear_flop_a_token = 2e9;
  r.dense_flop_per_s = {{512, 400e12}};
  r.timings = {timing("gemv", 512, 1, 0.020, 0.0010),         timing("gemm", 512, 1, 0.010, 0.0012),
               timing("gemv", 512, 8, 0.090, 0.0040),         timing("gemm", 512, 8, 0.040, 0.0020),
               timing("auto", 512, 1, auto_first, auto_step), timing("auto", 512, 8, 0.040, 0.0020)};
  return r;
}

TEST(AutoChoice, IsHeldAgainstTheBestForcedVersion) {
  const std::vector<AutoChoice> choices = auto_choices(report(0.0102, 0.00102));
  ASSERT_EQ(choices.size(), 2u);
  EXPECT_EQ(choices[0].first_token.version, "gemm");
  EXPECT_EQ(choices[0].token.version, "gemv");
  EXPECT_NEAR(choices[0].token.excess(), 0.02, 1e-9);
  EXPECT_TRUE(choices[0].within());
  EXPECT_EQ(choices[1].token.version, "gemm");
  EXPECT_EQ(choices[1].token.excess(), 0);
}

TEST(AutoChoice, IsNotWithinWhenEitherIsSlower) {
  EXPECT_FALSE(auto_choices(report(0.0102, 0.00104))[0].within());
  EXPECT_FALSE(auto_choices(report(0.0104, 0.00102))[0].within());
  EXPECT_TRUE(auto_choices(report(0.0080, 0.00080))[0].within()) << "quicker is not slower";
}

TEST(AutoChoice, NeedsAForcedVersion) {
  ModelBenchReport r = report(1, 1);
  std::erase_if(r.timings, [](const ModelTiming& t) { return t.version != "auto"; });
  EXPECT_TRUE(auto_choices(r).empty());
  EXPECT_THAT(table_text(r), Not(HasSubstr("best when forced")));
}

TEST(AutoChoice, IsOnlyClaimedWhereAutoWasMeasured) {
  ModelBenchReport r = report(1, 1);
  std::erase_if(r.timings, [](const ModelTiming& t) { return t.version == "auto"; });
  EXPECT_THAT(table_text(r), AllOf(HasSubstr("best when forced\n"), Not(HasSubstr("within"))));
  EXPECT_TRUE(json(as_json(r))["best_forced"][0]["auto_within_tolerance"].is_null());
}

TEST(ModelReport, TellsWhereAutoIsNotWithin) {
  const std::string text = table_text(report(0.0102, 0.00104));
  EXPECT_THAT(text, HasSubstr("1.000 ms  gemv             +4.0%   more than 3%"));
  EXPECT_THAT(text, HasSubstr("2.000 ms  gemm             +0.0%   within 3%"));
  const json answer = as_json(report(0.0102, 0.00104));
  EXPECT_EQ(answer["best_forced"][0]["auto_within_tolerance"], false);
  EXPECT_EQ(answer["best_forced"][1]["auto_within_tolerance"], true);
}

TEST(ModelReport, SharesOfWhatTheMachineCan) {
  const ModelBenchReport r = report(0.010, 0.0010);
  // 512 tokens of 2 Gflop in 10 ms: 102.4 TFLOP/s of 400; 1 GB at 4 TB/s: 250 us of 1 ms.
  EXPECT_NEAR(r.share_of_dense(r.timings[1]), 0.256, 1e-9);
  EXPECT_NEAR(r.share_of_floor(r.timings[0]), 0.25, 1e-9);
  EXPECT_EQ(r.share_of_dense(timing("auto", 2048, 1, 0.01, 0.001)), 0) << "no product of 2048 tokens was measured";
  EXPECT_THAT(table_text(r), AllOf(HasSubstr("fp16 product of 512 tokens 400 TFLOP/s"), HasSubstr("25.6%")));
  EXPECT_THAT(csv_text(r), HasSubstr("m,gemm,1,512,4,10.000,1.200,1.200,1.200,833.33,1000000000,0.2083,102.4,0.2560,"));
}

TEST(ModelReport, APageHasChartsForEachPromptLength) {
  ModelBenchReport r = report(0.010, 0.0010);
  r.timings.push_back(timing("auto", 2048, 1, 0.04, 0.001));
  const std::string page = html_page(r);
  EXPECT_THAT(page, AllOf(HasSubstr("milliseconds a step, 512 prompt tokens"),
                          HasSubstr("tokens a second, 2048 prompt tokens"), HasSubstr("Fake &lt;H200&gt; &amp; Co")));
}

}  // namespace
}  // namespace awq::bench
