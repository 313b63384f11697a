#include "io/tokenizer/word_scanners.h"

#include "io/tokenizer/unicode_classes.h"
#include "io/tokenizer/utf8.h"

namespace awq::io {
namespace {

constexpr uint8_t kLetterNumberSpace = kLetter | kNumber | kSpace;

bool is_newline(char c) { return c == '\n' || c == '\r'; }

// One scan: the text's end and the class table at hand, and the loops that the patterns are made of.
class Scan {
 public:
  explicit Scan(const char* end) : end_(end), classes_(char_classes()) {}

  bool at_end(const char* p) const { return p == end_; }
  uint8_t class_at(const char* p) const { return p == end_ ? 0 : classes_[next_code_point(p)]; }

  const char* skip(const char* p, uint8_t wanted) const {  // [wanted]*
    while (p < end_) {
      const char* next = p;
      if (!(classes_[next_code_point(next)] & wanted)) break;
      p = next;
    }
    return p;
  }
  const char* skip_others(const char* p) const {  // [^\s\p{L}\p{N}]*
    while (p < end_) {
      const char* next = p;
      if (classes_[next_code_point(next)] & kLetterNumberSpace) break;
      p = next;
    }
    return p;
  }
  const char* skip_at_most(const char* p, uint8_t wanted, int count) const {  // [wanted]{0,count}
    for (; count > 0 && (class_at(p) & wanted); --count) p += utf8_length(*p);
    return p;
  }
  const char* skip_newlines(const char* p) const {
    while (p < end_ && is_newline(*p)) ++p;
    return p;
  }

  // 's|'t|'re|'ve|'m|'ll|'d: its end, or nullptr. Regardless of case U+017F is an s, too.
  const char* contraction(const char* p, bool ignore_case) const {
    if (*p != '\'' || ++p == end_) return nullptr;
    const auto lower = [&](const char* at) { return static_cast<char>(ignore_case && *at < 'a' ? *at | 0x20 : *at); };
    const char first = lower(p), second = end_ - p > 1 ? lower(p + 1) : '\0';
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return p + 1;
    if ((first == 'r' || first == 'v') && second == 'e') return p + 2;
    if (first == 'l' && second == 'l') return p + 2;
    if (ignore_case && end_ - p > 1 && p[0] == '\xC5' && p[1] == '\xBF') return p + 2;
    return nullptr;
  }

  // \s+(?!\S)|\s+: a run of space leaves its last character to the word behind it.
  const char* spaces(const char* p) const {
    const char* const run = skip(p, kSpace);
    if (run == end_) return run;
    const char* const last = previous_code_point(run);
    return last > p ? last : run;
  }
  // \s*[\r\n]+|\s+(?!\S)|\s+: up to the last newline of the run when there is one.
  const char* spaces_or_newlines(const char* p) const {
    const char* const run = skip(p, kSpace);
    for (const char* q = run; q > p; --q) {
      if (is_newline(q[-1])) return q;
    }
    return spaces(p);
  }

 private:
  const char* end_;
  const uint8_t* classes_;
};

const char* gpt2_word(const char* p, const char* end) {
  const Scan scan(end);
  if (const char* stop = scan.contraction(p, false)) return stop;
  const char* const word = *p == ' ' ? p + 1 : p;
  if (scan.at_end(word)) return word;
  const uint8_t is = scan.class_at(word);
  if (is & kLetter) return scan.skip(word, kLetter);
  if (is & kNumber) return scan.skip(word, kNumber);
  if (!(is & kSpace)) return scan.skip_others(word);
  return scan.spaces(p);
}

// Llama-3's pattern; Qwen2's differs in the number of digits that make a word.
template <int kMaxDigits>
const char* llama3_word(const char* p, const char* end) {
  const Scan scan(end);
  if (const char* stop = scan.contraction(p, true)) return stop;
  const uint8_t is = scan.class_at(p);
  if (is & kLetter) return scan.skip(p, kLetter);
  if (is & kNumber) return scan.skip_at_most(p, kNumber, kMaxDigits);
  const char* const second = p + utf8_length(*p);
  if (!is_newline(*p) && (scan.class_at(second) & kLetter)) return scan.skip(second, kLetter);
  const char* const word = *p == ' ' ? second : p;
  const char* const others = scan.skip_others(word);
  if (others > word) return scan.skip_newlines(others);
  return scan.spaces_or_newlines(p);
}

constexpr WordPattern kWordPatterns[] = {
    {"gpt2", R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", gpt2_word},
    {"llama3",
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     llama3_word<3>},
    {"qwen2",
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     llama3_word<1>},
};

}  // namespace

std::span<const WordPattern> word_patterns() { return kWordPatterns; }

const WordPattern* find_word_pattern(std::string_view pattern) {
  for (const WordPattern& row : kWordPatterns) {
    if (row.pattern == pattern) return &row;
  }
  return nullptr;
}

}  // namespace awq::io
