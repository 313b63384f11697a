// The merges of a BPE model: which two neighbouring tokens become which one, and which merge goes first.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace awq::io {

struct Merge {
  int32_t rank = -1;  // position in the file; lower goes first
  int32_t token = -1;
};

struct MergeRow {
  int32_t left, right;
  Merge merge;
};

// Rows grouped by the left token and sorted by the right one. Not a hash table: the pairs come from a file, and a file
// must not be able to choose pairs that collide. The inner search is short because few tokens start many merges.
class MergeTable {
 public:
  MergeTable() = default;
  // Of rows with the same pair the last one counts, as in the package. Tokens are in [0, vocab_size).
  MergeTable(std::vector<MergeRow> rows, int32_t vocab_size);

  const Merge* find(int32_t left, int32_t right) const {  // nullptr when the two do not merge
    size_t low = first_[left], high = first_[left + 1];
    while (low < high) {
      const size_t middle = (low + high) / 2;
      if (right_[middle] < right)
        low = middle + 1;
      else
        high = middle;
    }
    return low < first_[left + 1] && right_[low] == right ? &merge_[low] : nullptr;
  }
  size_t size() const { return right_.size(); }

 private:
  std::vector<uint32_t> first_;  // (vocab_size + 1): where the rows of a left token start
  std::vector<int32_t> right_;   // (rows)
  std::vector<Merge> merge_;     // (rows)
};

// Replaces neighbours by their merge, lowest rank first and leftmost first within a rank, until nothing merges.
// `symbols` shrinks in place. O(n log n); `short` words go a way that allocates nothing.
void merge_symbols(const MergeTable& merges, std::vector<int32_t>& symbols);

// The two ways, for the tests to compare. The first is quadratic and takes at most kShortWord symbols.
constexpr size_t kShortWord = 64;
void merge_short_word(const MergeTable& merges, std::vector<int32_t>& symbols);
void merge_long_word(const MergeTable& merges, std::vector<int32_t>& symbols);

}  // namespace awq::io
