#include "io/tokenizer/word_scanners.h"

#include <gtest/gtest.h>

#include <random>

#include "io/tokenizer/regex.h"
#include "io/tokenizer/utf8.h"

namespace awq::io {
namespace {

using Words = std::vector<std::string>;

Words scanned(const WordPattern& row, const std::string& text) {
  Words words;
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    const char* const stop = row.scan(p, end);
    words.emplace_back(p, stop);
    p = stop;
  }
  return words;
}

Words matched(const Regex& regex, const std::string& text) {
  Words words;
  regex.find_all(text, [&](size_t begin, size_t end) { words.push_back(text.substr(begin, end - begin)); });
  return words;
}

char32_t random_code_point(std::mt19937& rng) {
  constexpr char32_t kEnds[] = {0x80, 0x80, 0x250, 0x800, 0x3000, 0x10000, 0x20000, 0x110000};
  for (;;) {
    const char32_t c = rng() % kEnds[rng() % std::size(kEnds)];
    if (c < 0xD800 || c > 0xDFFF) return c;
  }
}

// Made of what the patterns speak of, so that every alternative meets every other.
std::string random_text(std::mt19937& rng) {
  const std::string kParts[] = {"'",          "'s",     "'S",     "'\u017F",   "'t",     "'RE",    "'ve",    "'m",
                                "'ll",        "'lL",    "'d",     " ",         "  ",     "\n",     "\r",     "\t",
                                "a",          "Zq",     "7",      "1234",      "!",      "?!",     "\u00A0", "\u0085",
                                "\u2028",     "\u180E", "\u3000", "\u00E9",    "\u0301", "\u0661", "\u4E2D", "\u2460",
                                "\U0001F600", "l",      "\u00B2", "\U00010D4A"};
  std::string text;
  for (size_t n = rng() % 30; n > 0; --n) {
    if (rng() % 4 > 0)
      text += kParts[rng() % std::size(kParts)];
    else
      append_utf8(text, random_code_point(rng));
  }
  return text;
}

TEST(WordScanners, EqualTheirPatterns) {
  for (const WordPattern& row : word_patterns()) {
    const Regex regex(row.pattern);
    std::mt19937 rng(3);
    for (int i = 0; i < 20000; ++i) {
      const std::string text = random_text(rng);
      ASSERT_EQ(scanned(row, text), matched(regex, text)) << row.name << " on " << testing::PrintToString(text);
    }
  }
}

TEST(WordScanners, EqualTheirPatternsOnEveryCodePoint) {
  for (const WordPattern& row : word_patterns()) {
    const Regex regex(row.pattern);
    std::string text;
    for (char32_t c = 0; c < 0x110000; ++c) {
      if (c >= 0xD800 && c < 0xE000) continue;
      text += 'a';
      append_utf8(text, c);
      text += " 1";
      append_utf8(text, c);
      if (text.size() < 1 << 16 && c < 0x10FFFF) continue;
      ASSERT_EQ(scanned(row, text), matched(regex, text)) << row.name << " near " << uint32_t{c};
      text.clear();
    }
  }
}

TEST(WordScanners, SplitEnglishAsKnown) {
  const WordPattern& llama3 = word_patterns()[1];
  EXPECT_EQ(scanned(llama3, "I'LL pay 12345 (now)\n\n  ok "),
            (Words{"I", "'LL", " pay", " ", "123", "45", " (", "now", ")\n\n", " ", " ok", " "}));
  EXPECT_EQ(scanned(word_patterns()[0], "I'll pay 12345"), (Words{"I", "'ll", " pay", " 12345"}));
  EXPECT_EQ(scanned(word_patterns()[2], "a12"), (Words{"a", "1", "2"}));
}

TEST(WordScanners, AreFoundByTheirPattern) {
  for (const WordPattern& row : word_patterns()) EXPECT_EQ(find_word_pattern(row.pattern), &row);
  EXPECT_EQ(find_word_pattern("\\p{L}+"), nullptr);
}

}  // namespace
}  // namespace awq::io
