#include "io/tokenizer/merge_table.h"

#include <gmock/gmock.h>

#include <random>

namespace awq::io {
namespace {

using testing::ElementsAre;

// A vocabulary of strings over "abc" in which every merge makes the longer string, as in a real file.
struct RandomModel {
  std::vector<std::string> tokens = {"a", "b", "c"};
  std::vector<MergeRow> rows;

  RandomModel(std::mt19937& rng, int merges) {
    for (int i = 0; i < merges; ++i) {
      const auto left = static_cast<int32_t>(rng() % tokens.size()),
                 right = static_cast<int32_t>(rng() % tokens.size());
      const std::string whole = tokens[left] + tokens[right];
      const auto known = std::find(tokens.begin(), tokens.end(), whole);
      rows.push_back({left, right, {i, static_cast<int32_t>(known - tokens.begin())}});
      if (known == tokens.end()) tokens.push_back(whole);
    }
    // Shuffled ranks: then a token can merge before its own parts have, which orderly training never produces.
    std::vector<int32_t> ranks(rows.size());
    for (size_t i = 0; i < ranks.size(); ++i) ranks[i] = static_cast<int32_t>(i);
    std::shuffle(ranks.begin(), ranks.end(), rng);
    for (size_t i = 0; i < rows.size(); ++i) rows[i].merge.rank = ranks[i];
  }
  MergeTable table() const { return MergeTable(rows, static_cast<int32_t>(tokens.size())); }
};

// The definition, word for word: look at all neighbours, apply the lowest rank, leftmost first.
std::vector<int32_t> by_definition(const MergeTable& merges, std::vector<int32_t> symbols) {
  for (;;) {
    const Merge* best = nullptr;
    size_t at = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const Merge* merge = merges.find(symbols[i], symbols[i + 1]);
      if (merge && (!best || merge->rank < best->rank)) best = merge, at = i;
    }
    if (!best) return symbols;
    symbols[at] = best->token;
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
}

TEST(MergeTable, FindsEachRowAndNothingElse) {
  const MergeTable table({{2, 1, {0, 7}}, {0, 1, {1, 5}}, {0, 4, {2, 6}}}, 8);
  EXPECT_EQ(table.find(0, 1)->token, 5);
  EXPECT_EQ(table.find(0, 4)->token, 6);
  EXPECT_EQ(table.find(2, 1)->token, 7);
  EXPECT_EQ(table.find(0, 2), nullptr);
  EXPECT_EQ(table.find(1, 0), nullptr);
  EXPECT_EQ(table.find(7, 7), nullptr);
}

TEST(MergeTable, OfTwoRowsForAPairTheLaterCounts) {
  const MergeTable table({{0, 1, {0, 5}}, {0, 1, {3, 5}}}, 6);
  EXPECT_EQ(table.find(0, 1)->rank, 3);
  EXPECT_EQ(table.size(), 1u);
}

TEST(MergeSymbols, LeftmostFirstWithinARank) {
  const MergeTable table({{0, 0, {0, 1}}}, 2);  // aaa -> aa a, not a aa
  std::vector<int32_t> symbols = {0, 0, 0};
  merge_symbols(table, symbols);
  EXPECT_THAT(symbols, ElementsAre(1, 0));
}

TEST(MergeSymbols, BothWaysFollowTheDefinition) {
  std::mt19937 rng(1);
  for (int round = 0; round < 400; ++round) {
    const MergeTable table = RandomModel(rng, 1 + static_cast<int>(rng() % 40)).table();
    std::vector<int32_t> symbols(rng() % (kShortWord + 1));
    for (int32_t& s : symbols) s = static_cast<int32_t>(rng() % 3);
    const auto expected = by_definition(table, symbols);
    std::vector<int32_t> in_short = symbols, in_long = symbols;
    merge_short_word(table, in_short);
    merge_long_word(table, in_long);
    ASSERT_EQ(in_short, expected) << "round " << round;
    ASSERT_EQ(in_long, expected) << "round " << round;
  }
}

TEST(MergeSymbols, LongWordsFollowTheDefinition) {
  std::mt19937 rng(2);
  for (int round = 0; round < 20; ++round) {
    const MergeTable table = RandomModel(rng, 60).table();
    std::vector<int32_t> symbols(700);
    for (int32_t& s : symbols) s = static_cast<int32_t>(rng() % 3);
    std::vector<int32_t> merged = symbols;
    merge_symbols(table, merged);
    ASSERT_EQ(merged, by_definition(table, symbols)) << "round " << round;
  }
}

}  // namespace
}  // namespace awq::io
