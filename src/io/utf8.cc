#include "io/utf8.h"

#include <simdjson.h>

#include <algorithm>
#include <cstdint>

namespace awq::io {
namespace {

// Bytes that a lead byte announces; 0 when it cannot begin a character (RFC 3629).
size_t announced(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead < 0xc2) return 0;  // continuation bytes, and overlong forms of ASCII
  if (lead < 0xe0) return 2;
  if (lead < 0xf0) return 3;
  return lead < 0xf5 ? 4 : 0;
}

bool valid_character(std::string_view c) { return simdjson::validate_utf8(c.data(), c.size()); }

}  // namespace

size_t find_invalid_utf8(std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) return text.npos;
  for (size_t i = 0; i < text.size();) {
    const size_t length = announced(static_cast<unsigned char>(text[i]));
    if (length == 0 || length > text.size() - i || (length > 1 && !valid_character(text.substr(i, length)))) return i;
    i += length;
  }
  return text.npos;
}

void trim_partial_character(std::string& text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const size_t length = announced(static_cast<unsigned char>(text[text.size() - back]));
    if (length == 0) continue;
    if (length > back) text.resize(text.size() - back);
    return;
  }
}

}  // namespace awq::io
