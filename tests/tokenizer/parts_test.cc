// Normalizers, pre-tokenizers, added tokens, post-processors and decoders, one small case each; differential.py has the
// crowd.
#include <gmock/gmock.h>

#include "small_tokenizer.h"

namespace awq::io {
namespace {

using nlohmann::json;
using testing::ElementsAre;

// Tokens a b c ab abc, and "\u2581"; words are UTF-8.
json text_file() {
  json file = byte_level_file();
  file["pre_tokenizer"] = nullptr;
  file["decoder"] = nullptr;
  file["model"]["vocab"] = {{"a", 0}, {"b", 1}, {"c", 2}, {"ab", 3}, {"abc", 4}, {"\u2581", 5}};
  return file;
}

std::vector<int32_t> normalized_by(const json& normalizer, std::string_view text) {
  json file = text_file();
  file["normalizer"] = normalizer;
  return encode_with(file, text);
}

TEST(Normalizers, EachDoesItsOwn) {
  EXPECT_THAT(normalized_by({{"type", "Lowercase"}}, "ABc"), ElementsAre(4));
  EXPECT_THAT(normalized_by({{"type", "Prepend"}, {"prepend", "a"}}, "bc"), ElementsAre(4));
  EXPECT_THAT(normalized_by({{"type", "Prepend"}, {"prepend", "a"}}, ""), ElementsAre());
  EXPECT_THAT(normalized_by({{"type", "Replace"}, {"pattern", {{"String", "xx"}}}, {"content", "b"}}, "axxc"),
              ElementsAre(4));
  EXPECT_THAT(normalized_by({{"type", "Replace"}, {"pattern", {{"Regex", "[0-9]+"}}}, {"content", ""}}, "a12b3c"),
              ElementsAre(4));
  EXPECT_THAT(normalized_by({{"type", "NFKC"}}, "\uFF41\uFF42"), ElementsAre(3));  // full-width letters
}

std::vector<int32_t> split_by(const json& pre_tokenizer, std::string_view text) {
  json file = text_file();
  file["pre_tokenizer"] = pre_tokenizer;
  return encode_with(file, text);
}

TEST(PreTokenizers, MergesStayInsideWords) {
  EXPECT_THAT(split_by(nullptr, "abcab"), ElementsAre(4, 3));
  const json pattern = {{"String", "b"}};
  const auto split = [&](const char* behavior, bool invert) {
    return json{{"type", "Split"}, {"pattern", pattern}, {"behavior", behavior}, {"invert", invert}};
  };
  EXPECT_THAT(split_by(split("Isolated", false), "abc"), ElementsAre(0, 1, 2));
  EXPECT_THAT(split_by(split("Removed", false), "abc"), ElementsAre(0, 2));
  EXPECT_THAT(split_by(split("Removed", true), "abc"), ElementsAre(1));
  EXPECT_THAT(split_by(split("MergedWithPrevious", false), "abc"), ElementsAre(3, 2));
  EXPECT_THAT(split_by(split("MergedWithNext", false), "abc"), ElementsAre(0, 1, 2));
}

json metaspace(const char* scheme) {
  return {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", scheme}, {"split", true}};
}

TEST(PreTokenizers, MetaspacePrependsByItsScheme) {
  EXPECT_THAT(split_by(metaspace("always"), "a<s>b"), ElementsAre(5, 0, 6, 5, 1));
  EXPECT_THAT(split_by(metaspace("first"), "a<s>b"), ElementsAre(5, 0, 6, 1));
  EXPECT_THAT(split_by(metaspace("first"), "<s>b"), ElementsAre(6, 1));
  EXPECT_THAT(split_by(metaspace("never"), "a b"), ElementsAre(0, 5, 1));
  EXPECT_THAT(split_by(metaspace("always"), " a"), ElementsAre(5, 0));
}

std::vector<int32_t> with_flags(std::initializer_list<const char*> flags, std::string_view text) {
  json file = byte_level_file();
  for (const char* flag : flags) file["added_tokens"][0][flag] = true;
  return encode_with(file, text);
}

TEST(AddedTokens, FlagsTakeSpacesAndWholeWords) {
  EXPECT_THAT(with_flags({}, "a <s> b"), ElementsAre(0, 5, 6, 5, 1));
  EXPECT_THAT(with_flags({"lstrip"}, "a  <s> b"), ElementsAre(0, 6, 5, 1));
  EXPECT_THAT(with_flags({"rstrip"}, "a <s>  b"), ElementsAre(0, 5, 6, 1));
  EXPECT_THAT(with_flags({"single_word"}, "a<s> <s>"), ElementsAre(0, 5, 6));  // the first one touches a letter
}

TEST(AddedTokens, TheLongestWins) {
  json file = byte_level_file();
  file["added_tokens"] = json::array({added_token("<s>", 6), added_token("<s>a", 7), added_token("<", 8)});
  EXPECT_THAT(encode_with(file, "<s>ab<s<s>"), ElementsAre(7, 1, 8, 6));
}

TEST(PostProcessors, TemplatesAddTheirTokensOnlyWhenAsked) {
  json file = byte_level_file();
  file["post_processor"] = json::parse(R"({"type": "Sequence", "processors": [
      {"type": "ByteLevel", "trim_offsets": true},
      {"type": "TemplateProcessing",
       "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
       "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [6], "tokens": ["<s>"]}}}]})");
  const Tokenizer tokenizer = parse_file(file);
  EXPECT_THAT(tokenizer.encode("ab", true), ElementsAre(6, 3));
  EXPECT_THAT(tokenizer.encode("ab", false), ElementsAre(3));
}

std::string decoded_by(const json& decoder, const std::vector<int32_t>& ids) {
  json file = text_file();
  file["decoder"] = decoder;
  file["model"]["vocab"]["<0xC3>"] = 6;
  file["model"]["vocab"]["<0xA9>"] = 7;
  file["added_tokens"][0]["id"] = 8;
  return parse_file(file).decode(ids, true);
}

TEST(Decoders, EachDoesItsOwn) {
  EXPECT_EQ(decoded_by(nullptr, {0, 8, 1}), "a b");  // joined by spaces; <s> is special
  EXPECT_EQ(decoded_by({{"type", "Fuse"}}, {0, 1}), "ab");
  EXPECT_EQ(decoded_by({{"type", "ByteFallback"}}, {0, 6, 7, 1}), "a\u00E9b");
  EXPECT_EQ(decoded_by({{"type", "ByteFallback"}}, {6, 0, 7, 7}), "\uFFFDa\uFFFD\uFFFD");
  EXPECT_EQ(decoded_by({{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "always"}}, {5, 0, 5, 1}),
            "a b");
  EXPECT_EQ(decoded_by({{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "never"}}, {5, 0, 5, 1}),
            " a b");
  EXPECT_EQ(decoded_by({{"type", "Replace"}, {"pattern", {{"String", "b"}}}, {"content", "x"}}, {3, 2}), "axc");
}

}  // namespace
}  // namespace awq::io
