#include "io/tokenizer/utf8.h"

#include <gtest/gtest.h>

namespace awq::io {
namespace {

std::string repaired(std::string_view text) {
  std::string storage;
  return std::string(valid_utf8(text, storage));
}

TEST(Utf8, ValidTextIsNotCopied) {
  std::string storage;
  const std::string text = "a\u00e9\u4e2d\U0001F600";
  EXPECT_EQ(valid_utf8(text, storage).data(), text.data());
}

// The examples of Unicode 16.0, table 3-8 and 3-11: a U+FFFD for each maximal part.
TEST(Utf8, EachMaximalPartBecomesOneReplacement) {
  EXPECT_EQ(repaired("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\x41");
  EXPECT_EQ(repaired("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), "\uFFFD\uFFFD\uFFFD\uFFFD\x41");
  EXPECT_EQ(repaired("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(repaired("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(repaired("a\xE4\xB8"), "a\uFFFD");
}

TEST(Utf8, EveryCodePointSurvivesARoundTrip) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(text, c);
    const char* p = text.data();
    ASSERT_EQ(next_code_point(p), c);
    ASSERT_EQ(p, text.data() + text.size());
    ASSERT_EQ(previous_code_point(p), text.data());
    ASSERT_EQ(repaired(text), text);
  }
}

}  // namespace
}  // namespace awq::io
