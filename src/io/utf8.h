// UTF-8 that comes from outside.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace awq::io {

// Offset of the first byte that is not part of valid UTF-8, or npos.
size_t find_invalid_utf8(std::string_view text);

// Drops a character that was cut at the end of `text` (at most three bytes).
void trim_partial_character(std::string& text);

}  // namespace awq::io
