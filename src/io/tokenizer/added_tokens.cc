#include "io/tokenizer/added_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "io/tokenizer/json_fields.h"
#include "io/tokenizer/normalizer.h"
#include "io/tokenizer/unicode_classes.h"
#include "io/tokenizer/utf8.h"
#include "io/tokenizer/vocabulary.h"

namespace awq::io {
namespace {

// The text is searched for each token from each of its positions, so a token's length bounds the time of a position.
constexpr size_t kMaxAddedTokenBytes = 1024;

AddedToken read_added_token(const Json& entry, const Normalizer* normalizer) {
  AddedToken token;
  token.content = string_field(entry, "content");
  token.id = static_cast<int32_t>(integer_field(entry, "id", 0, kMaxTokens - 1));
  token.special = bool_field(entry, "special", false);
  token.normalized = bool_field(entry, "normalized", !token.special);
  token.single_word = bool_field(entry, "single_word", false);
  token.lstrip = bool_field(entry, "lstrip", false);
  token.rstrip = bool_field(entry, "rstrip", false);
  token.text = token.content;
  if (token.normalized && normalizer) token.text = normalizer->normalized(token.content);
  for (const std::string& text : {token.content, token.text}) {
    if (text.empty())
      refuse("the added token " + printable(token.content) + " is empty, or becomes so when normalized");
    if (text.size() > kMaxAddedTokenBytes) {
      refuse(fmt::format("the added token {} is longer than {} bytes", printable(text), kMaxAddedTokenBytes));
    }
  }
  return token;
}

bool is_class(char32_t c, uint8_t wanted) { return char_classes()[c] & wanted; }

// Added tokens one after the other, as the package numbers them.
class Numbering {
 public:
  explicit Numbering(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  void check(const AddedToken& token) {
    const std::string name = printable(token.content);
    if (!contents_.insert(token.content).second) refuse("the added token " + name + " is listed twice");
    const int32_t id =
        vocabulary_.id(token.content).value_or(std::max(last_ + 1, static_cast<int32_t>(vocabulary_.size())));
    if (token.id != id) {
      refuse(fmt::format("the added token {} has id {}, but its place in the vocabulary and the list gives {}", name,
                         token.id, id));
    }
    const std::string* holder = vocabulary_.token(id);
    if (holder && *holder != token.content)
      refuse(fmt::format("the added token {} has the id of {}", name, printable(*holder)));
    last_ = std::max(last_, id);
  }

 private:
  const Vocabulary& vocabulary_;
  std::unordered_set<std::string> contents_;
  int32_t last_ = -1;
};

}  // namespace

std::vector<AddedToken> read_added_tokens(const Json& list, const Vocabulary& vocabulary,
                                          const Normalizer* normalizer) {
  std::vector<AddedToken> tokens;
  if (list.is_null()) return tokens;
  if (!list.array()) refuse("\"added_tokens\" must be a list");
  Numbering numbering(vocabulary);
  for (const Json& entry : *list.array()) {
    AddedToken token = read_added_token(entry, normalizer);
    numbering.check(token);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  const auto by_text = [](const AddedToken& a, const AddedToken& b) { return a.text < b.text; };
  std::stable_sort(tokens_.begin(), tokens_.end(), by_text);
  for (const AddedToken& token : tokens_) ++first_with_byte_[static_cast<unsigned char>(token.text[0]) + 1];
  for (int b = 0; b < 256; ++b) first_with_byte_[b + 1] += first_with_byte_[b];
}

const AddedToken* AddedTokenMatcher::longest_at(std::string_view text) const {
  const auto first = static_cast<unsigned char>(text[0]);
  auto low = tokens_.begin() + first_with_byte_[first], high = tokens_.begin() + first_with_byte_[first + 1];
  const AddedToken* longest = nullptr;
  // All of [low, high) share the first `depth` bytes with the text; the shortest come first.
  for (size_t depth = 1; low < high; ++depth) {
    if (low->text.size() == depth) longest = &*low;
    while (low < high && low->text.size() == depth) ++low;
    if (depth == text.size()) break;
    const auto byte_at = [&](const AddedToken& t) { return static_cast<unsigned char>(t.text[depth]); };
    const auto byte = static_cast<unsigned char>(text[depth]);
    low = std::partition_point(low, high, [&](const AddedToken& t) { return byte_at(t) < byte; });
    high = std::partition_point(low, high, [&](const AddedToken& t) { return byte_at(t) == byte; });
  }
  return longest;
}

AddedTokenMatcher::Match AddedTokenMatcher::find(std::string_view text, size_t from) const {
  if (tokens_.empty()) return {};
  for (size_t at = from; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (first_with_byte_[byte] == first_with_byte_[byte + 1]) continue;
    if (const AddedToken* token = longest_at(text.substr(at))) return {token, at, at + token->text.size()};
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
