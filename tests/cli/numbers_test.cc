#include "cli/numbers.h"

#include <gtest/gtest.h>

#include "awq/error.h"

namespace awq::cli {
namespace {

TEST(ParseCount, ReadsSuffixes) {
  const std::pair<const char*, int64_t> rows[] = {
      {"512", 512},
      {"-1", -1},
      {"128k", 128'000},
      {"128K", 131'072},
      {"2Ki", 2048},
      {"5GB", 5'000'000'000},
      {"1.5GiB", 1'610'612'736},
      {"1e3", 1000},
      {"0", 0},
  };
  for (const auto& [text, value] : rows) EXPECT_EQ(parse_count(text), value) << text;
}

TEST(ParseCount, RefusesWhatIsNotAWholeNumber) {
  for (const char* text :
       {"", "x", "12x", "1.5", "0.1K", "nan", "inf", "1e400", "2^40", "1 000", "0x10", "9007199254740994", "--"}) {
    EXPECT_THROW(parse_count(text), Error) << text;
  }
}

TEST(ParseCounts, ReadsLists) {
  EXPECT_EQ(parse_counts(""), std::vector<int>());
  EXPECT_EQ(parse_counts("8"), std::vector<int>({8}));
  EXPECT_EQ(parse_counts("1,2,4"), std::vector<int>({1, 2, 4}));
  for (const char* text : {",", "1,,2", "1;2", "1,x", "-1", "1,9999999999", "1.5"})
    EXPECT_THROW(parse_counts(text), Error) << text;
}

TEST(ParseFraction, PercentAndFractionAgree) {
  EXPECT_DOUBLE_EQ(parse_fraction("1%"), 0.01);
  EXPECT_DOUBLE_EQ(parse_fraction("0.01"), 0.01);
  EXPECT_DOUBLE_EQ(parse_fraction("0.1%"), 0.001);
  for (const char* text : {"", "%", "1%%", "one", "nan%"}) EXPECT_THROW(parse_fraction(text), Error) << text;
}

TEST(Human, UnitsAndThousands) {
  EXPECT_EQ(human_bytes(999), "999 B");
  EXPECT_EQ(human_bytes(11'547'040), "11.5 MB");
  EXPECT_EQ(human_bytes(5'000'000'000), "5 GB");
  EXPECT_EQ(human_seconds(0.84), "0.8 s");
  EXPECT_EQ(human_seconds(80), "1 min 20 s");
  EXPECT_EQ(human_seconds(7500), "2 h 05 min");
  EXPECT_EQ(human_count(65536), "65 536");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(1234567), "1 234 567");
}

}  // namespace
}  // namespace awq::cli
