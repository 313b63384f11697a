// TK7: what no tokenizer likes to be fed. Results are compared with the package in differential.py; here it is time.
#include <gtest/gtest.h>

#include <chrono>

#include "small_tokenizer.h"

namespace awq::io {
namespace {

constexpr size_t kBytes = 2 << 20;                 // a quadratic step would take hours
constexpr auto kLimit = std::chrono::seconds(10);  // idle, without sanitizers: 0.1

double seconds_to_encode(const Tokenizer& tokenizer, const std::string& text) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(tokenizer.encode(text, false).empty());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

nlohmann::json sentencepiece_file() {
  nlohmann::json file = byte_level_file();
  file["pre_tokenizer"] = nullptr;
  file["normalizer"] = nlohmann::json::parse(R"({"type": "Sequence", "normalizers": [
      {"type": "Prepend", "prepend": "\u2581"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]})");
  file["model"]["vocab"]["\u2581"] = 6;
  file["model"]["vocab"]["\u2581\u2581"] = 7;
  file["model"]["vocab"]["aa"] = 8;
  file["model"]["merges"].push_back(nlohmann::json::array({"\u2581", "\u2581"}));
  file["model"]["merges"].push_back(nlohmann::json::array({"a", "a"}));
  file["added_tokens"][0]["id"] = 9;
  return file;
}

TEST(HostileText, LongRunsTakeLinearTime) {
  for (const nlohmann::json& file : {byte_level_file(), sentencepiece_file()}) {
    const Tokenizer tokenizer = parse_file(file);
    for (const char* unit : {"a", " ", "ab", "abc"}) {
      std::string text;
      while (text.size() < kBytes) text += unit;
      EXPECT_LT(seconds_to_encode(tokenizer, text), std::chrono::duration<double>(kLimit).count())
          << "runs of " << unit;
    }
  }
}

TEST(HostileText, MarksAndSpacesBesideAddedTokensTakeLinearTime) {
  nlohmann::json file = byte_level_file();
  file["added_tokens"][0]["lstrip"] = file["added_tokens"][0]["rstrip"] = true;
  file["added_tokens"].push_back(added_token("  ", 7));
  file["added_tokens"][1]["lstrip"] = file["added_tokens"][1]["rstrip"] = true;
  EXPECT_LT(seconds_to_encode(parse_file(file), std::string(kBytes / 4, ' ')),
            std::chrono::duration<double>(kLimit).count());
  file = byte_level_file();
  file["normalizer"] = {{"type", "NFC"}};
  std::string marks = "ab";
  for (int i = 0; i < 300000; ++i) marks += i % 2 ? "\u0301" : "\u0327";  // sorting these by class is utf8proc's
  parse_file(file).encode(marks, false);
}

TEST(HostileText, EmptyAndInvalidTextIsDefined) {
  const Tokenizer tokenizer = parse_file(byte_level_file());
  EXPECT_TRUE(tokenizer.encode("", true).empty());
  EXPECT_EQ(tokenizer.decode({}, true), "");
  for (const char* text : {"\xFF", "\xED\xA0\x80", "a\xE4\xB8", "\xF4\x90\x80\x80"}) {
    EXPECT_EQ(tokenizer.encode(text, false), tokenizer.encode(std::string(text[0] == 'a' ? "a" : ""), false))
        << "no byte of U+FFFD is a token";
  }
  EXPECT_EQ(tokenizer.encode(std::string_view("a\0b", 3), false), (std::vector<int32_t>{0, 1}));
}

TEST(HostileText, IdsThatNoTokenHasDecodeToNothing) {
  const Tokenizer tokenizer = parse_file(byte_level_file());
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{-1, 4, 1 << 30, 0}, false), "abca");
  EXPECT_EQ(tokenizer.token_text(-1), "");
}

}  // namespace
}  // namespace awq::io
