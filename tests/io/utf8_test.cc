#include "io/utf8.h"

#include <gtest/gtest.h>

namespace awq::io {
namespace {

TEST(Utf8Test, FindsTheFirstBadByte) {
  const size_t none = std::string_view::npos;
  EXPECT_EQ(find_invalid_utf8(""), none);
  EXPECT_EQ(find_invalid_utf8("aé€😀"), none);
  EXPECT_EQ(find_invalid_utf8("ab\xff"), 2u);
  EXPECT_EQ(find_invalid_utf8("é\x80"), 2u);
  EXPECT_EQ(find_invalid_utf8("\xc0\xaf"), 0u);           // overlong
  EXPECT_EQ(find_invalid_utf8("x\xed\xa0\x80"), 1u);      // surrogate
  EXPECT_EQ(find_invalid_utf8("x\xf4\x90\x80\x80"), 1u);  // above U+10FFFF
  EXPECT_EQ(find_invalid_utf8("xy\xe2\x82"), 2u);         // cut
}

TEST(Utf8Test, TrimsACharacterThatWasCut) {
  for (const std::string_view whole : {"aé", "a€", "a😀", "ab"})
    for (size_t n = 0; n <= whole.size(); ++n) {
      std::string text(whole.substr(0, n));
      trim_partial_character(text);
      EXPECT_EQ(text, n == whole.size() ? whole : n == 0 ? "" : "a");
    }
}

}  // namespace
}  // namespace awq::io
