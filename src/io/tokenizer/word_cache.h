// The tokens of words met before. A word of natural text is one of some thousands, so most never reach the merges.
#pragma once
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <span>
#include <string_view>
#include <vector>

namespace awq::io {

// Each word has one slot, which a newer word takes over: no search, no growth, nothing for hostile text to exploit.
class WordCache {
 public:
  WordCache() : slots_(kSlots) {}

  // Empty when the word is not here (a cached word has at least one token).
  std::span<const int32_t> find(std::string_view word) const {
    if (word.size() > sizeof(Slot::word)) return {};
    const Slot& slot = slots_[slot_of(word)];
    if (slot.bytes != word.size() || std::memcmp(slot.word, word.data(), word.size()) != 0) return {};
    return {slot.tokens, slot.count};
  }

  void insert(std::string_view word, std::span<const int32_t> tokens) {
    if (word.size() > sizeof(Slot::word) || tokens.empty() || tokens.size() > std::size(slots_[0].tokens)) return;
    Slot& slot = slots_[slot_of(word)];
    slot.bytes = static_cast<uint8_t>(word.size());
    slot.count = static_cast<uint8_t>(tokens.size());
    std::memcpy(slot.word, word.data(), word.size());
    std::copy(tokens.begin(), tokens.end(), slot.tokens);
  }

 private:
  static constexpr size_t kSlots = 1 << 15;  // 2 MB: the words of a long book
  struct Slot {                              // one cache line
    uint8_t bytes = 0, count = 0;
    char word[26];
    int32_t tokens[9];
  };
  static_assert(sizeof(Slot) == 64);

  static size_t slot_of(std::string_view word) { return XXH3_64bits(word.data(), word.size()) % kSlots; }

  std::vector<Slot> slots_;
};

}  // namespace awq::io
