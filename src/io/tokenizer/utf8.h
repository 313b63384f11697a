// UTF-8, one code point at a time. Everything behind valid_utf8() may rely on the text being valid.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace awq::io {

constexpr char32_t kReplacementCharacter = 0xFFFD;

// `text` itself when it is valid; else a copy in `storage` in which each maximal part of an ill-formed sequence has
// become U+FFFD (Unicode 16.0, 3.9: the substitution that browsers, Python and Rust share).
std::string_view valid_utf8(std::string_view text, std::string& storage);

void append_utf8(std::string& out, char32_t c);

// Bytes of the code point whose first byte is `lead`, in valid text.
inline int utf8_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

// The code point at `p` of valid text, which is then moved behind it.
inline char32_t next_code_point(const char*& p) {
  const int bytes = utf8_length(*p);
  const auto lead = static_cast<unsigned char>(*p++);
  if (bytes == 1) return lead;
  char32_t c = lead & (0x7F >> bytes);
  for (int i = 1; i < bytes; ++i) c = c << 6 | (static_cast<unsigned char>(*p++) & 0x3F);
  return c;
}

// Start of the code point that ends before `p`.
inline const char* previous_code_point(const char* p) {
  do --p;
  while ((static_cast<unsigned char>(*p) & 0xC0) == 0x80);
  return p;
}

}  // namespace awq::io
