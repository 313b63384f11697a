// Tokens that are found in the text itself, before (or, when `normalized`, after) normalization, and never split.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace awq::io {

class Json;
class Normalizer;
class Vocabulary;

struct AddedToken {
  std::string content;
  std::string text;  // what is searched for and what decodes: the content, normalized when the token is `normalized`
  int32_t id = 0;
  bool single_word = false, lstrip = false, rstrip = false, normalized = false, special = false;
};

// The "added_tokens" list. The package takes the ids not from the list but from the vocabulary, or counts on from its
// size; a list that says otherwise is refused, because what the model was trained with is then anybody's guess.
std::vector<AddedToken> read_added_tokens(const Json& list, const Vocabulary& vocabulary, const Normalizer* normalizer);

// A part of a text: a token, or text between tokens (`token` < 0) that starts at `begin`.
struct Section {
  std::string_view text;
  size_t begin;
  int32_t token;
};

class AddedTokenMatcher {
 public:
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  // Calls `use` for each section in order; text sections are not empty.
  template <class Use>
  void split(std::string_view text, Use&& use) const {
    size_t begin = 0;       // of what is not used yet; an earlier rstrip may have moved it past the next match
    size_t spaces_end = 0;  // of the last run of space looked at, so that no run is walked twice
    for (size_t from = 0;;) {
      const Match match = find(text, from);
      if (!match.token) break;
      from = match.end;
      const AddedToken& token = *match.token;
      if (token.single_word && !stands_alone(text, match)) continue;
      const size_t start = token.lstrip ? space_start(text, begin, match.start) : match.start;
      if (begin < start) use(Section{text.substr(begin, start - begin), begin, -1});
      use(Section{{}, start, token.id});
      if (token.rstrip && match.end >= spaces_end) spaces_end = space_end(text, match.end);
      begin = token.rstrip ? spaces_end : match.end;
    }
    if (begin < text.size()) use(Section{text.substr(begin), begin, -1});
  }

 private:
  struct Match {
    const AddedToken* token = nullptr;  // nullptr: no further match
    size_t start = 0, end = 0;
  };
  Match find(std::string_view text, size_t from) const;  // the leftmost match, among those the longest
  const AddedToken* longest_at(std::string_view text) const;
  static bool stands_alone(std::string_view text, const Match& match);
  static size_t space_start(std::string_view text, size_t begin, size_t end);  // not before `begin`
  static size_t space_end(std::string_view text, size_t start);

  std::vector<AddedToken> tokens_;               // sorted by text: those that share a start are neighbours
  std::array<uint32_t, 257> first_with_byte_{};  // tokens_ that start with byte b: from [b] to [b + 1]
};

}  // namespace awq::io
