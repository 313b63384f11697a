// What Split, Replace and their like search for: a literal string or a regular expression.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace awq::io {

class Json;

// A stretch of a text that matches, or lies between matches.
struct Segment {
  size_t begin, end;
  bool is_match;
};

class TextPattern {
 public:
  virtual ~TextPattern() = default;
  // Calls `on_match(begin, end)` for each match in order. Matches do not overlap; one may be empty.
  virtual void find(std::string_view text, const std::function<void(size_t, size_t)>& on_match) const = 0;

  // The matches and what lies between them, which together cover the text.
  std::vector<Segment> segments(std::string_view text) const;
  std::string replace(std::string_view text, std::string_view replacement) const;
};

// {"String": "..."} or {"Regex": "..."}. A pattern of the table in word_scanners.h is scanned by hand.
std::unique_ptr<TextPattern> make_text_pattern(const Json& pattern);

}  // namespace awq::io
