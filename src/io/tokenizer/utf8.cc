#include "io/tokenizer/utf8.h"

#include <simdjson.h>

namespace awq::io {
namespace {

struct Sequence {
  int bytes;
  bool valid;
};

// The second byte decides about overlong forms, surrogates and the end of the code space; later ones are 80..BF.
struct SecondByte {
  unsigned char low, high;
};
SecondByte second_byte_after(unsigned char lead) {
  switch (lead) {
    case 0xE0: return {0xA0, 0xBF};
    case 0xED: return {0x80, 0x9F};
    case 0xF0: return {0x90, 0xBF};
    case 0xF4: return {0x80, 0x8F};
    default: return {0x80, 0xBF};
  }
}

// The sequence at the start of `text`: a code point, or the maximal part of an ill-formed one.
Sequence first_sequence(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return {1, true};
  if (lead < 0xC2 || lead > 0xF4) return {1, false};
  const int wanted = utf8_length(text[0]);
  SecondByte allowed = second_byte_after(lead);
  for (int i = 1; i < wanted; ++i) {
    if (i >= static_cast<int>(text.size())) return {i, false};
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < allowed.low || byte > allowed.high) return {i, false};
    allowed = {0x80, 0xBF};
  }
  return {wanted, true};
}

}  // namespace

std::string_view valid_utf8(std::string_view text, std::string& storage) {
  if (simdjson::validate_utf8(text.data(), text.size())) return text;
  storage.clear();
  storage.reserve(text.size() + text.size() / 8);
  while (!text.empty()) {
    const Sequence s = first_sequence(text);
    if (s.valid)
      storage.append(text.substr(0, s.bytes));
    else
      append_utf8(storage, kReplacementCharacter);
    text.remove_prefix(s.bytes);
  }
  return storage;
}

void append_utf8(std::string& out, char32_t c) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    tail(0);
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace awq::io
