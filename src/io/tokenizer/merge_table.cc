#include "io/tokenizer/merge_table.h"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <queue>
#include <tuple>
#include <unordered_map>

namespace awq::io {

MergeTable::MergeTable(std::vector<MergeRow> rows, int32_t vocab_size) : first_(static_cast<size_t>(vocab_size) + 1) {
  std::sort(rows.begin(), rows.end(), [](const MergeRow& a, const MergeRow& b) {
    return std::tie(a.left, a.right, b.merge.rank) < std::tie(b.left, b.right, a.merge.rank);
  });
  const auto same_pair = [](const MergeRow& a, const MergeRow& b) { return a.left == b.left && a.right == b.right; };
  rows.erase(std::unique(rows.begin(), rows.end(), same_pair), rows.end());
  right_.reserve(rows.size());
  merge_.reserve(rows.size());
  for (const MergeRow& row : rows) {
    ++first_[static_cast<size_t>(row.left) + 1];
    right_.push_back(row.right);
    merge_.push_back(row.merge);
  }
  for (size_t i = 1; i < first_.size(); ++i) first_[i] += first_[i - 1];
}

void merge_symbols(const MergeTable& merges, std::vector<int32_t>& symbols) {
  if (symbols.size() <= kShortWord)
    merge_short_word(merges, symbols);
  else
    merge_long_word(merges, symbols);
}

void merge_short_word(const MergeTable& merges, std::vector<int32_t>& symbols) {
  constexpr Merge kNone{std::numeric_limits<int32_t>::max(), -1};
  std::array<Merge, kShortWord> after;  // after[i]: the merge of symbols i and i + 1
  size_t n = symbols.size();
  const auto look_up = [&](size_t i) {
    const Merge* merge = merges.find(symbols[i], symbols[i + 1]);
    after[i] = merge ? *merge : kNone;
  };
  for (size_t i = 0; i + 1 < n; ++i) look_up(i);
  while (n > 1) {
    const auto by_rank = [](const Merge& a, const Merge& b) { return a.rank < b.rank; };
    const size_t i = std::min_element(after.begin(), after.begin() + (n - 1), by_rank) - after.begin();
    if (after[i].token < 0) break;
    symbols[i] = after[i].token;
    std::copy(symbols.begin() + i + 2, symbols.begin() + n, symbols.begin() + i + 1);
    if (i + 2 < n) std::copy(after.begin() + i + 2, after.begin() + n - 1, after.begin() + i + 1);
    --n;
    if (i > 0) look_up(i - 1);
    if (i + 1 < n) look_up(i);
  }
  symbols.resize(n);
}

namespace {

// A word as a linked list over the array of its first symbols, and for each rank the places where it applies.
//
// One heap of all candidate places would be the plain way, but at 64 MB in one word its pops miss the cache some eight
// times each. So the heap holds ranks only. Places of one rank need no heap: while a rank is worked off no place joins
// it, since every token made meanwhile contains the merged text and so is longer than both halves of that rank.
class LongWord {
 public:
  LongWord(const MergeTable& merges, std::vector<int32_t>& symbols) : merges_(merges), symbols_(symbols) {
    const size_t n = symbols.size();
    next_.resize(n);
    previous_.resize(n);
    for (size_t i = 0; i < n; ++i) {
      next_[i] = static_cast<uint32_t>(i + 1);
      previous_[i] = static_cast<uint32_t>(i - 1);  // wraps to kNoPlace at the front
    }
  }

  void merge_all() {
    for (size_t i = 0; i + 1 < symbols_.size(); ++i) add_place(static_cast<uint32_t>(i));
    while (!ranks_.empty()) {
      const int32_t rank = ranks_.top();
      Places& places = places_[rank];
      if (places.done == 0 && !std::is_sorted(places.at.begin(), places.at.end()))
        std::sort(places.at.begin(), places.at.end());
      if (places.done == places.at.size()) {
        ranks_.pop();
        places_.erase(rank);
      } else {
        merge_at(places.at[places.done++], rank);
      }
    }
    compact();
  }

 private:
  static constexpr uint32_t kNoPlace = std::numeric_limits<uint32_t>::max();
  static constexpr int32_t kGone = -1;
  struct Places {
    std::vector<uint32_t> at;
    size_t done = 0;
  };

  bool has_next(uint32_t at) const { return next_[at] < symbols_.size(); }

  void add_place(uint32_t at) {
    const Merge* merge = merges_.find(symbols_[at], symbols_[next_[at]]);
    if (!merge) return;
    Places& places = places_[merge->rank];
    if (places.at.empty()) ranks_.push(merge->rank);
    places.at.push_back(at);
  }

  void merge_at(uint32_t at, int32_t rank) {
    if (symbols_[at] == kGone || !has_next(at)) return;
    const uint32_t right = next_[at];
    const Merge* merge = merges_.find(symbols_[at], symbols_[right]);
    if (!merge || merge->rank != rank) return;  // a neighbour has merged since
    symbols_[at] = merge->token;
    symbols_[right] = kGone;
    next_[at] = next_[right];
    if (has_next(at)) previous_[next_[at]] = at;
    if (previous_[at] != kNoPlace) add_place(previous_[at]);
    if (has_next(at)) add_place(at);
  }

  void compact() { symbols_.erase(std::remove(symbols_.begin(), symbols_.end(), kGone), symbols_.end()); }

  const MergeTable& merges_;
  std::vector<int32_t>& symbols_;
  std::vector<uint32_t> next_, previous_;
  std::priority_queue<int32_t, std::vector<int32_t>, std::greater<>> ranks_;
  std::unordered_map<int32_t, Places> places_;
};

}  // namespace

void merge_long_word(const MergeTable& merges, std::vector<int32_t>& symbols) { LongWord(merges, symbols).merge_all(); }

}  // namespace awq::io
