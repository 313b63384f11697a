// Hand-written equals of the word patterns that nearly every byte-level tokenizer uses; other patterns go to PCRE2.
#pragma once
#include <span>
#include <string_view>

namespace awq::io {

// End of the word at the start of a non-empty, valid UTF-8 text. These patterns match at every position.
using WordScanner = const char* (*)(const char* begin, const char* end);

struct WordPattern {
  std::string_view name, pattern;
  WordScanner scan;
};
std::span<const WordPattern> word_patterns();  // the first row is GPT-2's, which ByteLevel has built in
// The row of a pattern as it stands in tokenizer.json; nullptr when there is none.
const WordPattern* find_word_pattern(std::string_view pattern);

}  // namespace awq::io
