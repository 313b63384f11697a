#include "io/tokenizer/text_pattern.h"

#include "io/tokenizer/json_fields.h"
#include "io/tokenizer/regex.h"
#include "io/tokenizer/word_scanners.h"

namespace awq::io {
namespace {

constexpr size_t kLongestText = size_t{2} << 30;

class LiteralPattern : public TextPattern {
 public:
  explicit LiteralPattern(std::string literal) : literal_(std::move(literal)) {}
  void find(std::string_view text, const std::function<void(size_t, size_t)>& on_match) const override {
    for (size_t at = text.find(literal_); at != text.npos; at = text.find(literal_, at + literal_.size())) {
      on_match(at, at + literal_.size());
    }
  }

 private:
  std::string literal_;
};

class ScannedPattern : public TextPattern {
 public:
  explicit ScannedPattern(WordScanner scan) : scan_(scan) {}
  void find(std::string_view text, const std::function<void(size_t, size_t)>& on_match) const override {
    const char* const end = text.data() + text.size();
    for (const char* p = text.data(); p < end;) {
      const char* const stop = scan_(p, end);
      on_match(p - text.data(), stop - text.data());
      p = stop;
    }
  }

 private:
  WordScanner scan_;
};

class RegexPattern : public TextPattern {
 public:
  explicit RegexPattern(std::string_view pattern) : regex_(pattern) {}
  void find(std::string_view text, const std::function<void(size_t, size_t)>& on_match) const override {
    regex_.find_all(text, on_match);
  }

 private:
  Regex regex_;
};

}  // namespace

std::vector<Segment> TextPattern::segments(std::string_view text) const {
  std::vector<Segment> segments;
  size_t begin = 0;
  find(text, [&](size_t match_begin, size_t match_end) {
    if (begin < match_begin) segments.push_back({begin, match_begin, false});
    segments.push_back({match_begin, match_end, true});
    begin = match_end;
  });
  if (begin < text.size()) segments.push_back({begin, text.size(), false});
  return segments;
}

std::string TextPattern::replace(std::string_view text, std::string_view replacement) const {
  std::string out;
  out.reserve(text.size());
  size_t begin = 0;
  find(text, [&](size_t match_begin, size_t match_end) {
    out += text.substr(begin, match_begin - begin);
    out += replacement;
    if (out.size() > kLongestText) refuse("replacing in the text makes it larger than 2 GiB");
    begin = match_end;
  });
  out += text.substr(begin);
  return out;
}

std::unique_ptr<TextPattern> make_text_pattern(const Json& pattern) {
  if (pattern.find("String")) {
    const std::string& literal = string_field(pattern, "String");
    if (literal.empty()) refuse("the pattern is an empty string, which matches everywhere");
    return std::make_unique<LiteralPattern>(literal);
  }
  if (!pattern.find("Regex")) refuse("\"pattern\" must hold \"String\" or \"Regex\"");
  const std::string& regex = string_field(pattern, "Regex");
  if (const WordPattern* row = find_word_pattern(regex)) return std::make_unique<ScannedPattern>(row->scan);
  return std::make_unique<RegexPattern>(regex);
}

}  // namespace awq::io
