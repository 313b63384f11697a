// The 256 visible characters by which byte-level vocabularies write bytes: GPT-2's table, in which printable Latin-1
// stands for itself and the other 68 bytes become U+0100, U+0101, ... in order (so the space is U+0120, "Ġ").
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace awq::io {

const std::string& byte_to_character(unsigned char byte);  // as UTF-8, 1 or 2 bytes

// The bytes that `token` stands for; nullopt when a character is not of the alphabet.
std::optional<std::string> characters_to_bytes(std::string_view token);

}  // namespace awq::io
