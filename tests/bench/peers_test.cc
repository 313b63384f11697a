#include "bench/peers.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <filesystem>

#include "awq/error.h"
#include "fake_report.h"

namespace awq::bench {
namespace {

using testing::HasSubstr;

constexpr const char* kHead = "peer,shape,N,K,M,us,us_min,gbps,relerr,note\n";

TEST(Peers, TheQuickestComparableOneCounts) {
  const auto peers = PeerTable::parse(std::string(kHead) +
                                      "marlin,a,4096,4096,1,9.5,9,1,3e-4,\n"
                                      "turbo,a,4096,4096,1,8.5,8,1,3e-4,\"with, comma\"\r\n"
                                      "exl,a,4096,4096,1,8.9,8,1,3e-4,\n"
                                      "ggml_q4_0,a,4096,4096,1,5,5,1,8e-3,\n"
                                      "ggml_exact,a,4096,4096,1,5,5,1,1e-4,\n"
                                      "cublas,a,4096,4096,1,6,6,1,2e-4,\n"
                                      "torch_linear,a,4096,4096,1,6,6,1,2e-4,\n"
                                      "sloppy,a,4096,4096,1,4,4,1,1e-1,\n"
                                      "empty,-,0,0,1,0.5,0.5,0,0,\n"
                                      "\n"
                                      "marlin,a,4096,4096,2,9.6,9,1,3e-4,\n");
  ASSERT_NE(peers.best(1, 4096, 4096), nullptr);
  EXPECT_EQ(peers.best(1, 4096, 4096)->peer, "turbo");
  EXPECT_DOUBLE_EQ(peers.best(1, 4096, 4096)->us, 8.5);
  EXPECT_EQ(peers.best(2, 4096, 4096)->peer, "marlin");
  EXPECT_EQ(peers.best(4, 4096, 4096), nullptr);
  EXPECT_EQ(peers.size(), 2u);
}

TEST(Peers, BadFilesAreRefusedByLine) {
  const auto refusal = [](const std::string& text) {
    try {
      PeerTable::parse(text);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(refusal(""), HasSubstr("no column 'peer'"));
  EXPECT_THAT(refusal("peer,N,K,M,us\n"), HasSubstr("no column 'relerr'"));
  EXPECT_THAT(refusal(std::string(kHead) + "a,b,1\n"), HasSubstr("line 2 of the peers' file has too few fields"));
  EXPECT_THAT(refusal(std::string(kHead) + "a,b,1,1,1,quick,1,1,1,\n"), HasSubstr("'quick' for a number in line 2"));
  EXPECT_THROW(PeerTable::read_file("/no/such/file.csv"), Error);
}

TEST(Peers, LeadsAreListedWidestFirst) {
  const CudaBenchReport report = fake_report();
  const double at_1 = find_row(report, "auto", 1, 4096, 4096)->us_p50,
               at_4 = find_row(report, "auto", 4, 4096, 4096)->us_p50,
               at_16 = find_row(report, "auto", 16, 4096, 4096)->us_p50;
  const auto peers =
      PeerTable::parse(std::string(kHead) + fmt::format("a,s,4096,4096,1,{},1,1,1e-4,\nb,s,4096,4096,4,{},1,1,1e-4,\n"
                                                        "c,s,4096,4096,16,{},1,1,1e-4,\n",
                                                        at_1 / 1.04, at_4 / 1.2, at_16 / 1.5));
  const auto leads = peer_leads(report, peers, 0.05);
  ASSERT_EQ(leads.size(), 2u);  // 4 % is within the margin
  EXPECT_EQ(leads[0].peer.peer, "c");
  EXPECT_EQ(leads[1].m, 4);
  EXPECT_NEAR(mean_against_peers(report, peers, 4), 1.2, 1e-9);
  EXPECT_EQ(mean_against_peers(report, peers, 64), 0);
}

TEST(Peers, TheMeasuredTableIsRead) {
  const std::string path = AWQ_SOURCE_DIR "/../shared/anchors/h200-peers.csv";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "the table of peers is not beside this checkout";
  const auto peers = PeerTable::read_file(path);
  EXPECT_EQ(peers.size(), 132u);  // 11 shapes x 12 numbers of tokens
  EXPECT_EQ(peers.best(2, 22016, 4096)->peer, "turbomind");
}

}  // namespace
}  // namespace awq::bench
