#include "io/tokenizer/byte_alphabet.h"

#include <gtest/gtest.h>

#include <set>

namespace awq::io {
namespace {

TEST(ByteAlphabet, KnownCharacters) {
  EXPECT_EQ(byte_to_character(' '), "\u0120");
  EXPECT_EQ(byte_to_character('\n'), "\u010A");
  EXPECT_EQ(byte_to_character('A'), "A");
  EXPECT_EQ(byte_to_character(0), "\u0100");
  EXPECT_EQ(byte_to_character(0xAD), "\u0143");  // the soft hyphen is the last of the invisible ones
  EXPECT_EQ(byte_to_character(0xFF), "\u00FF");
}

TEST(ByteAlphabet, IsABijection) {
  std::set<std::string> characters;
  for (int b = 0; b < 256; ++b) {
    const std::string& c = byte_to_character(static_cast<unsigned char>(b));
    EXPECT_EQ(characters_to_bytes(c), std::string(1, static_cast<char>(b)));
    characters.insert(c);
  }
  EXPECT_EQ(characters.size(), 256u);
}

TEST(ByteAlphabet, RefusesOtherCharacters) {
  EXPECT_EQ(characters_to_bytes("a b"), std::nullopt);  // the space itself is not in it
  EXPECT_EQ(characters_to_bytes("\u0144"), std::nullopt);
  EXPECT_EQ(characters_to_bytes("\u4E2D"), std::nullopt);
}

}  // namespace
}  // namespace awq::io
