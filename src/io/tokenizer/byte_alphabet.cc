#include "io/tokenizer/byte_alphabet.h"

#include <array>

#include "io/tokenizer/utf8.h"

namespace awq::io {
namespace {

struct ByteAlphabet {
  std::array<std::string, 256> characters;
  std::array<int, 0x144> bytes;  // by code point, -1 where it is not of the alphabet; U+0143 is the last one

  ByteAlphabet() {
    bytes.fill(-1);
    char32_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool visible = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xFF && b != 0xAD);
      const char32_t c = visible ? static_cast<char32_t>(b) : next++;
      append_utf8(characters[b], c);
      bytes[c] = b;
    }
  }
};

const ByteAlphabet& alphabet() {
  static const ByteAlphabet instance;
  return instance;
}

}  // namespace

const std::string& byte_to_character(unsigned char byte) { return alphabet().characters[byte]; }

std::optional<std::string> characters_to_bytes(std::string_view token) {
  std::string out;
  const char* const end = token.data() + token.size();
  for (const char* p = token.data(); p < end;) {
    const char32_t c = next_code_point(p);
    if (c >= alphabet().bytes.size() || alphabet().bytes[c] < 0) return std::nullopt;
    out += static_cast<char>(alphabet().bytes[c]);
  }
  return out;
}

}  // namespace awq::io
