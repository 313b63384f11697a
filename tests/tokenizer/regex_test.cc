#include "io/tokenizer/regex.h"

#include <gmock/gmock.h>

#include <chrono>

#include "awq/error.h"

namespace awq::io {
namespace {

using testing::HasSubstr;
using Words = std::vector<std::string>;

Words matches(std::string_view pattern, const std::string& text) {
  Words words;
  Regex(pattern).find_all(text, [&](size_t begin, size_t end) { words.push_back(text.substr(begin, end - begin)); });
  return words;
}

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
    return e.what();
  }
  return "";
}

TEST(Regex, ReadsRubySyntax) {
  EXPECT_EQ(matches(R"(\h+)", "xyz 1aF g"), Words({"1aF"}));  // PCRE2: horizontal space
  EXPECT_EQ(matches("a{,2}b", "aaab"), Words({"aab"}));       // PCRE2: literal braces
  EXPECT_EQ(matches("(?m)a.b", "a\nb"), Words({"a\nb"}));     // PCRE2: (?s)
  EXPECT_EQ(matches("^b$", "a\nb\nc"), Words({"b"}));         // lines, without being asked
  EXPECT_EQ(matches(R"(\v)", "\n\v"), Words({"\v"}));         // PCRE2: any vertical space
  EXPECT_EQ(matches(R"(\u00e9)", "e\u00e9"), Words({"\u00e9"}));
  EXPECT_EQ(matches(R"(a{x})", "a{x}"), Words({"a{x}"}));
}

TEST(Regex, HasTheClassesOfUnicode16) {
  EXPECT_EQ(matches(R"(\s+)", " \u180E\u3000\u0085"), Words({" ", "\u3000\u0085"}));
  EXPECT_EQ(matches(R"([^\S\n]+)", "\u180E \t\n"), Words({" \t"}));
  EXPECT_EQ(matches(R"(\w+)", "a\u0301\u00B2 -b_"), Words({"a\u0301\u00B2", "b_"}));
  EXPECT_EQ(matches(R"(\p{L}+)", "\U00010D50!"), Words({"\U00010D50"}));  // a letter since Unicode 16.0
  EXPECT_EQ(matches(R"(\P{L}+)", "\U00010D50!"), Words({"!"}));
  EXPECT_EQ(matches(R"([[:punct:]]+)", "a$+.\u00A7"), Words({"$+.\u00A7"}));
  EXPECT_EQ(matches(R"(\p{Han}+)", "\u4E2D\u3001\U000323AF"),
            Words({"\u4E2D", "\U000323AF"}));  // U+3001 is shared, not Han
  EXPECT_EQ(matches(R"(\b\w)", "ab c\u0301"), Words({"a", "c"}));
}

TEST(Regex, EmptyMatchesAdvance) {
  EXPECT_EQ(matches("x*", "axxb"), Words({"", "xx", ""}));
  EXPECT_EQ(matches("", "\u4E2D"), Words({"", ""}));
  EXPECT_EQ(matches("(?=a)", "aa"), Words({"", ""}));
}

TEST(Regex, RefusesByName) {
  EXPECT_THAT(refusal([] { Regex("(a"); }), HasSubstr("'(a' is invalid"));
  EXPECT_THAT(refusal([] { Regex(R"(\X)"); }), HasSubstr(R"(\X)"));
  EXPECT_THAT(refusal([] { Regex(R"(\p{Klingon})"); }), HasSubstr("Klingon"));
  EXPECT_THAT(refusal([] { Regex("[a&&b]"); }), HasSubstr("&&"));
  EXPECT_THAT(refusal([] { Regex(R"((a)\1)"); }), HasSubstr(R"(\1)"));
  EXPECT_THAT(refusal([] { Regex(R"((?<n>a)\g<n>)"); }), HasSubstr(R"(\g)"));
  EXPECT_THAT(refusal([] { Regex("[a[bc]]"); }), HasSubstr("class in a class"));
  EXPECT_THAT(refusal([] { Regex("(*UTF)a"); }), HasSubstr("(*"));
  EXPECT_THAT(refusal([] { Regex("a{2}+"); }), HasSubstr("interval"));
  EXPECT_THAT(refusal([] { Regex("[a"); }), HasSubstr("ends in the middle"));
  EXPECT_THAT(refusal([] { Regex("a\\"); }), HasSubstr("ends in the middle"));
  EXPECT_THAT(refusal([] { Regex(std::string(1 << 20, 'a')); }), HasSubstr("1048576 bytes"));
}

TEST(Regex, LongRunsAreNotHostile) {
  const std::string spaces(1 << 20, ' '), letters(1 << 20, 'a');
  EXPECT_EQ(matches(R"(\s*[\r\n]+|\s+(?!\S)|\s+)", spaces + "a").size(), 2u);
  EXPECT_EQ(matches(R"(\s*[\r\n]+|\s+(?!\S)|\s+)", "\n" + spaces).size(), 2u);
  EXPECT_EQ(matches(R"([\p{Lu}]*[\p{Ll}]+|\p{N})", letters).size(), 1u);
}

// TK5: a hostile pattern ends in a sentence within a second, whatever the text.
class HostileRegex : public testing::TestWithParam<const char*> {};

TEST_P(HostileRegex, EndsWithinASecond) {
  const auto start = std::chrono::steady_clock::now();
  for (const std::string& text :
       {std::string(30, 'a') + "!", std::string(200000, 'a') + "!", std::string(200000, ' ')}) {
    const std::string what = refusal([&] { matches(GetParam(), text); });
    EXPECT_TRUE(what.empty() || what.find("regular expression") != what.npos) << what;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));  // one second each on an idle machine
}
INSTANTIATE_TEST_SUITE_P(Patterns, HostileRegex,
                         testing::Values("(a+)+$", "(a|aa)+$", "(a*)*b", "(?:a|a?)+$", "a*b", "a*a*a*b",
                                         "(?:.(?=[^c]*c))*", "(?<=a)b", "(?<=a+)b", "(?:)*", "(?=a*)*",
                                         "(a?){1000}a{1000}", "((a{1,100}){1,100}){1,100}", R"(\s+$)", R"((\s*)+x)"));

}  // namespace
}  // namespace awq::io
