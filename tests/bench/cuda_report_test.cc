#include "bench/cuda_report.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "fake_report.h"

namespace awq::bench {
namespace {

using testing::HasSubstr;
using testing::Not;

const PeerTable kPeers =
    PeerTable::parse("peer,N,K,M,us,relerr\nturbo,4096,4096,1,2.5,1e-4\nturbo,4096,4096,4,99,1e-4\n");

TEST(CudaReport, EveryCsvLineHasEveryField) {
  CudaBenchReport report = fake_report();
  report.device.name = "NVIDIA H200";
  std::istringstream lines(csv_text(report));
  std::string line;
  size_t count = 0, commas = 0;
  while (std::getline(lines, line)) {
    const auto here = static_cast<size_t>(std::ranges::count(line, ','));
    if (count++ == 0) commas = here;
    EXPECT_EQ(here, commas) << line;
  }
  EXPECT_EQ(count, 1 + report.rows.size());
  EXPECT_THAT(csv_text(report), HasSubstr("\ncublas_f16,,1,4096,4096,0,"));
  EXPECT_THAT(csv_text(report), HasSubstr(",f16,4000,NVIDIA H200,580.1,abc1234,"));
}

TEST(CudaReport, TheTableNamesTheChoiceTheMeansAndWhoIsAhead) {
  const std::string text = table_text(fake_report(), &kPeers);
  EXPECT_THAT(text, HasSubstr("reads 4000 GB/s"));
  EXPECT_THAT(text, HasSubstr("    1 *gemv_"));
  EXPECT_THAT(text, HasSubstr("geometric means over 2 shapes"));
  EXPECT_THAT(text, HasSubstr("(turbo)"));
  EXPECT_THAT(
      text,
      HasSubstr(
          "a peer is ahead by more than 5 % in 1 cells\n  4096x4096, m = 1: turbo 2.50 us, auto 3.18 us (+27 %)"));
  EXPECT_THAT(text, Not(HasSubstr("isolated")));
  EXPECT_THAT(table_text(fake_report(), nullptr), Not(HasSubstr("peer")));
}

TEST(CudaReport, FailuresAndNotesAreSaid) {
  CudaBenchReport report = fake_report();
  report.notes = {"left out"};
  report.failures = {"gemm at m=1: relative error 3.00e-02"};
  EXPECT_THAT(table_text(report, nullptr), HasSubstr("note: left out\nFAILED: gemm at m=1: relative error 3.00e-02\n"));
}

TEST(CudaReport, JsonHoldsWhatTheTableShows) {
  CudaBenchOptions options = small_options();
  options.isolated = true;
  const auto json = nlohmann::json::parse(as_json(fake_report(options), &kPeers).dump());
  EXPECT_EQ(json["read_gb_per_s"], 4000.);
  EXPECT_EQ(json["rows"].size(), fake_report().rows.size());
  EXPECT_TRUE(json["rows"][0]["us_isolated"].is_number());
  EXPECT_EQ(json["geometric_means"].size(), 4u);
  EXPECT_EQ(json["peers_ahead"][0]["peer"], "turbo");
}

}  // namespace
}  // namespace awq::bench
