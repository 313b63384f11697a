#include "io/tokenizer/added_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "io/tokenizer/json_fields.h"
#include "io/tokenizer/unicode_classes.h"
#include "io/tokenizer/utf8.h"
#include "io/tokenizer/vocabulary.h"

namespace awq::io {
namespace {

// The text is searched for each token from each of its positions, so a token's length bounds the time of a position.
constexpr size_t kMaxAddedTokenBytes = 1024;

AddedToken read_added_token(const Json& entry) {
  AddedToken token;
  token.content = string_field(entry, "content");
  token.id = static_cast<int32_t>(integer_field(entry, "id", 0, kMaxTokens - 1));
  token.special = bool_field(entry, "special", false);
  token.normalized = bool_field(entry, "normalized", !token.special);
  token.single_word = bool_field(entry, "single_word", false);
  token.lstrip = bool_field(entry, "lstrip", false);
  token.rstrip = bool_field(entry, "rstrip", false);
  return token;
}

bool is_class(char32_t c, uint8_t wanted) { return char_classes()[c] & wanted; }

}  // namespace

std::vector<AddedToken> read_added_tokens(const Json& file, const Vocabulary& vocabulary) {
  std::vector<AddedToken> tokens;
  if (const Json* list = file.find("added_tokens"); !list || list->is_null()) return tokens;
  std::unordered_set<std::string_view> contents;
  std::unordered_set<int32_t> ids;
  for (const Json& entry : array_field(file, "added_tokens")) {
    AddedToken token = read_added_token(entry);
    const std::string name = printable(token.content);
    if (token.content.empty()) refuse("an added token is empty");
    if (token.content.size() > kMaxAddedTokenBytes) {
      refuse(fmt::format("the added token {} is longer than {} bytes", name, kMaxAddedTokenBytes));
    }
    if (!contents.insert(string_field(entry, "content")).second) refuse("the added token " + name + " is listed twice");
    if (!ids.insert(token.id).second) refuse(fmt::format("two added tokens have the id {}", token.id));
    const auto known = vocabulary.id(token.content);
    const std::string* holder = vocabulary.token(token.id);
    if ((known && *known != token.id) || (holder && *holder != token.content)) {
      refuse(fmt::format("the added token {} has id {}, but the vocabulary has {}", name, token.id,
                         known ? fmt::format("it at {}", *known) : printable(*holder) + " there"));
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

AddedTokenMatcher::AddedTokenMatcher(std::vector<Pattern> patterns) : patterns_(std::move(patterns)) {
  const auto by_text = [](const Pattern& a, const Pattern& b) { return a.text < b.text; };
  std::stable_sort(patterns_.begin(), patterns_.end(), by_text);
  for (const Pattern& pattern : patterns_) ++first_with_byte_[static_cast<unsigned char>(pattern.text[0]) + 1];
  for (int b = 0; b < 256; ++b) first_with_byte_[b + 1] += first_with_byte_[b];
}

const AddedTokenMatcher::Pattern* AddedTokenMatcher::longest_at(std::string_view text) const {
  const auto first = static_cast<unsigned char>(text[0]);
  auto low = patterns_.begin() + first_with_byte_[first], high = patterns_.begin() + first_with_byte_[first + 1];
  const Pattern* longest = nullptr;
  // All of [low, high) share the first `depth` bytes with the text.
  for (size_t depth = 1; low < high; ++depth) {
    if (low->text.size() == depth) longest = &*low;
    while (low < high && low->text.size() == depth) ++low;
    if (depth == text.size()) break;
    const auto byte_at = [&](const Pattern& p) { return static_cast<unsigned char>(p.text[depth]); };
    const auto byte = static_cast<unsigned char>(text[depth]);
    low = std::partition_point(low, high, [&](const Pattern& p) { return byte_at(p) < byte; });
    high = std::partition_point(low, high, [&](const Pattern& p) { return byte_at(p) == byte; });
  }
  return longest;
}

AddedTokenMatcher::Match AddedTokenMatcher::find(std::string_view text, size_t from) const {
  if (patterns_.empty()) return {};
  for (size_t at = from; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (first_with_byte_[byte] == first_with_byte_[byte + 1]) continue;
    if (const Pattern* pattern = longest_at(text.substr(at))) return {pattern, at, at + pattern->text.size()};
  }
  return {};
}

bool AddedTokenMatcher::stands_alone(std::string_view text, const Match& match) {
  const char* before = text.data() + match.start;
  const char* after = text.data() + match.end;
  if (match.start > 0) {
    before = previous_code_point(before);
    if (is_class(next_code_point(before), kWordPart)) return false;
  }
  return match.end == text.size() || !is_class(next_code_point(after), kWordPart);
}

size_t AddedTokenMatcher::space_start(std::string_view text, size_t begin, size_t end) {
  while (end > begin) {
    const char* const start = previous_code_point(text.data() + end);
    const char* p = start;
    if (!is_class(next_code_point(p), kSpace)) break;
    end = static_cast<size_t>(start - text.data());
  }
  return std::max(begin, end);
}

size_t AddedTokenMatcher::space_end(std::string_view text, size_t start) {
  while (start < text.size()) {
    const char* p = text.data() + start;
    if (!is_class(next_code_point(p), kSpace)) break;
    start = static_cast<size_t>(p - text.data());
  }
  return start;
}

}  // namespace awq::io
