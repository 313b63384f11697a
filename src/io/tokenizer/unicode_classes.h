// What a code point is to a tokenizer: one byte of class bits for each of the 0x110000 code points.
//
// The PyPI package, whose ids we promise, answers by three Unicode versions: 16.0 in its regular expressions, 17.0 in
// Digits and Lowercase, 9.0 in the normalization forms. The table holds its answers (tools/make_unicode_tables.py).
#pragma once
#include <cstdint>
#include <span>

namespace awq::io {

enum CharClass : uint8_t {
  kLetter = 1,    // \p{L}, Unicode 16.0
  kNumber = 2,    // \p{N}, Unicode 16.0
  kSpace = 4,     // \s: White_Space
  kWordPart = 8,  // \w as `single_word` of added tokens sees it
  kNumeric = 16,  // \p{N}, Unicode 17.0: the pre-tokenizer Digits
  kInert = 32,    // newer than Unicode 9.0 and changed by a later version's normalization: left alone
};

// 0x110000 bytes, built on first use.
const uint8_t* char_classes();

struct CategoryRange {
  char32_t first, last;
  char category[3];  // "Lo"
};
// Code points that PCRE2 10.42 (Unicode 14.0) takes for unassigned and the package does not.
std::span<const CategoryRange> newer_than_pcre2();

// Lowercase of one code point; U+0130, the only one that becomes two, is the caller's.
char32_t to_lowercase(char32_t);

}  // namespace awq::io
