// TK1 to TK6 and TK8: files that must be refused by name, or whose odd corners have a meaning.
#include <gmock/gmock.h>

#include "awq/error.h"
#include "small_tokenizer.h"

namespace awq::io {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

std::string refusal(const json& file) {
  try {
    parse_file(file);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
    return e.what();
  }
  return "(accepted)";
}

json with(const char* pointer, const json& value) {
  json file = byte_level_file();
  file[json::json_pointer(pointer)] = value;
  return file;
}

TEST(HostileFile, TheUnchangedFileIsAccepted) {
  EXPECT_THAT(encode_with(byte_level_file(), "abc ab<s>"), ElementsAre(4, 5, 3, 6));
}

TEST(HostileFile, NotATokenizer) {
  EXPECT_THROW(Tokenizer::parse("", "t"), Error);
  EXPECT_THROW(Tokenizer::parse("{\"model\":", "t"), Error);
  EXPECT_THROW(Tokenizer::parse("[]", "t"), Error);
  EXPECT_THAT(refusal(json::object()), HasSubstr("\"model\" is missing"));
  EXPECT_THAT(refusal(with("/model", 3)), HasSubstr("\"vocab\" is missing"));
}

TEST(HostileFile, VocabularyIds) {  // TK2
  EXPECT_THAT(refusal(with("/model/vocab/ab", 2)), HasSubstr("same id 2"));
  EXPECT_THAT(refusal(with("/model/vocab/ab", -1)), HasSubstr("id -1"));
  EXPECT_THAT(refusal(with("/model/vocab/ab", 2147483648)), HasSubstr("id 2147483648"));
  EXPECT_THAT(refusal(with("/model/vocab/ab", "x")), HasSubstr("'ab' is not an integer"));
  EXPECT_THAT(refusal(with("/model/vocab", json::array())), HasSubstr("\"vocab\""));
  EXPECT_THROW(Tokenizer::parse(R"({"model":{"vocab":{"a":0,"a":1},"merges":[]}})", "t"), Error);
}

TEST(HostileFile, VocabularyMayHaveGapsAndLongOrEmptyTokens) {
  json file = byte_level_file();
  file["added_tokens"] = json::array();
  file["model"]["vocab"]["zz"] = 1000;
  file["model"]["vocab"][""] = 1001;
  file["model"]["vocab"][std::string(1 << 20, 'q')] = 1002;
  const Tokenizer tokenizer = parse_file(file);
  EXPECT_EQ(tokenizer.vocab_size(), 1003);
  EXPECT_EQ(tokenizer.token_text(500), "");
  EXPECT_THAT(tokenizer.encode("abc", false), ElementsAre(4));
}

TEST(HostileFile, Merges) {  // TK1 (#2094), TK3
  EXPECT_THAT(refusal(with("/model/merges/0", {"a", "x"})), HasSubstr("merge 0 needs the token 'x'"));
  EXPECT_THAT(refusal(with("/model/merges/0", {"c", "b"})), HasSubstr("merge 0 needs the token 'cb'"));
  EXPECT_THAT(refusal(with("/model/merges/0", json::array({"a"}))), HasSubstr("merge 0"));
  EXPECT_THAT(refusal(with("/model/merges/0", {"a", "b", "c"})), HasSubstr("merge 0"));
  EXPECT_THAT(refusal(with("/model/merges/1", "ab c")), HasSubstr("merge 1"));
  EXPECT_THAT(refusal(with("/model/merges", {"a b", "ab  c"})), HasSubstr("merge 1"));
  EXPECT_THAT(refusal(with("/model/merges/1", {"", "c"})), HasSubstr("empty part"));
  EXPECT_THAT(refusal(with("/model/merges", 1)), HasSubstr("\"merges\" must be a list"));
}

TEST(HostileFile, MergesAsText) {
  EXPECT_THAT(encode_with(with("/model/merges", {"#version: 0.2", "a b", "ab c"}), "abcab"), ElementsAre(4, 3));
}

TEST(HostileFile, UnknownPartsAreRefusedByName) {  // TK6
  const json unknown = {{"type", "Quantum"}};
  for (const char* part : {"/normalizer", "/pre_tokenizer", "/post_processor", "/decoder"}) {
    EXPECT_THAT(refusal(with(part, unknown)), HasSubstr("'Quantum' is not supported")) << part;
    EXPECT_THAT(refusal(with(part, json::object())), HasSubstr("\"type\" is missing")) << part;
  }
  EXPECT_THAT(refusal(with("/model/type", "Unigram")), HasSubstr("'Unigram' is not supported"));
  EXPECT_THAT(refusal(with("/model/dropout", 0.1)), HasSubstr("dropout"));
  EXPECT_THAT(refusal(with("/model/continuing_subword_prefix", "##")), HasSubstr("continuing_subword_prefix"));
  EXPECT_THAT(refusal(with("/normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "AAAA"}})),
              HasSubstr("Precompiled"));
  EXPECT_THAT(refusal(with("/normalizer", {{"type", "Sequence"}, {"normalizers", json::array({unknown})}})),
              HasSubstr("Quantum"));
  EXPECT_THAT(
      refusal(with("/pre_tokenizer", {{"type", "Split"}, {"pattern", {{"Glob", "*"}}}, {"behavior", "Isolated"}})),
      HasSubstr("pattern"));
  EXPECT_THAT(
      refusal(with("/pre_tokenizer", {{"type", "Split"}, {"pattern", {{"String", "a"}}}, {"behavior", "Exploded"}})),
      HasSubstr("Exploded"));
}

TEST(HostileFile, TemplatesAndStripDecoders) {  // TK1 (#2151)
  const json special = {{"SpecialToken", {{"id", "<x>"}, {"type_id", 0}}}};
  json templ = {{"type", "TemplateProcessing"},
                {"single", json::array({special})},
                {"pair", json::array()},
                {"special_tokens", json::object()}};
  EXPECT_THAT(refusal(with("/post_processor", templ)), HasSubstr("'<x>', which it does not define"));
  templ["special_tokens"]["<x>"] = {{"id", "<x>"}, {"ids", json::array({99})}, {"tokens", json::array({"<x>"})}};
  EXPECT_THAT(refusal(with("/post_processor", templ)), HasSubstr("not in the vocabulary"));
  templ["single"] = json::array({{{"Sequence", {{"id", "B"}, {"type_id", 0}}}}});
  EXPECT_THAT(refusal(with("/post_processor", templ)), HasSubstr("second text"));

  json strip = {{"type", "Strip"}, {"content", "a"}, {"start", 9}, {"stop", 9}};
  const Tokenizer tokenizer = parse_file(with("/decoder", strip));
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{0, 4, 1}, false), "bcb");
  strip["start"] = -1;
  EXPECT_THAT(refusal(with("/decoder", strip)), HasSubstr("\"start\""));
  strip["content"] = "ab";
  EXPECT_THAT(refusal(with("/decoder", strip)), HasSubstr("\"start\""));
}

TEST(HostileFile, PartsThatMultiplyAreBounded) {
  const json text =
      json::array({{{"Sequence", {{"id", "A"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}});
  const json twice = {
      {"type", "TemplateProcessing"}, {"single", text}, {"pair", json::array()}, {"special_tokens", json::object()}};
  EXPECT_THAT(refusal(with("/post_processor", twice)), HasSubstr("exactly once"));
  const json prepend = {{"type", "Prepend"}, {"prepend", std::string(5000, 'a')}};
  EXPECT_THAT(refusal(with("/normalizer", prepend)), HasSubstr("\"prepend\" must be at most"));
  const json digits = {{"type", "Digits"}, {"individual_digits", true}};
  const json many = {{"type", "Sequence"}, {"pretokenizers", std::vector<json>(100000, digits)}};
  EXPECT_THAT(refusal(with("/pre_tokenizer", many)), HasSubstr("more than 32"));
}

TEST(HostileFile, TruncationAndPaddingAreLeftToTheCaller) {
  json file =
      with("/truncation", {{"max_length", 1}, {"stride", 5}, {"strategy", "LongestFirst"}, {"direction", "Right"}});
  file["padding"] = {{"strategy", {{"Fixed", 0}}}, {"direction", "Right"}, {"pad_id", 0}};
  EXPECT_THAT(encode_with(file, "abcabc"), ElementsAre(4, 4));
}

TEST(HostileFile, BytesWithoutATokenAreDropped) {  // TK1 (tiktoken #568)
  EXPECT_THAT(encode_with(byte_level_file(), "axb"), ElementsAre(3));
}

TEST(HostileFile, OnlyProperByteTokensCount) {  // TK4
  json file = byte_level_file();
  file["pre_tokenizer"] = nullptr;
  file["decoder"] = {{"type", "ByteFallback"}};
  file["added_tokens"] = json::array();
  file["model"]["byte_fallback"] = true;
  int id = 6;
  for (const char* token : {"<0x-1>", "<0xZZ>", "<0x100>", "<0xa>", "<0x7a>", "<0x71>"})
    file["model"]["vocab"][token] = id++;
  const Tokenizer tokenizer = parse_file(file);
  EXPECT_THAT(tokenizer.encode("zq", false), ElementsAre(11)) << "z has only <0x7a>, and byte tokens are in capitals";
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{6, 7, 8, 9, 10, 11}, false), "<0x-1><0xZZ><0x100><0xa>zq");
}

TEST(HostileFile, AddedTokens) {  // TK2, TK8
  EXPECT_THAT(refusal(with("/added_tokens/0/id", 9)), HasSubstr("'<s>' has id 9"));
  EXPECT_THAT(refusal(with("/added_tokens/0/id", 2)), HasSubstr("'<s>' has id 2"));
  EXPECT_THAT(refusal(with("/added_tokens/0/content", "ab")), HasSubstr("'ab' has id 6"));
  EXPECT_THAT(refusal(with("/added_tokens/0/content", "")), HasSubstr("empty"));
  EXPECT_THAT(refusal(with("/added_tokens/0/content", std::string(2000, 'x'))), HasSubstr("longer than"));
  EXPECT_THAT(refusal(with("/added_tokens", {added_token("<s>", 6), added_token("<s>", 7)})),
              HasSubstr("listed twice"));
  EXPECT_THAT(refusal(with("/added_tokens", json::array({{{"id", 6}}}))), HasSubstr("\"content\" is missing"));
}

TEST(HostileFile, AHundredThousandAddedTokens) {  // TK8
  json file = byte_level_file();
  for (int i = 1; i < 100000; ++i)
    file["added_tokens"].push_back(added_token("<token " + std::to_string(i) + ">", 6 + i));
  const Tokenizer tokenizer = parse_file(file);
  EXPECT_EQ(tokenizer.vocab_size(), 100006);
  EXPECT_THAT(tokenizer.encode("<token 99999><token 9<token 9>", false), ElementsAre(6 + 99999, 5, 6 + 9));
}

TEST(HostileFile, DeepNestingIsRefused) {
  json sequence = {{"type", "NFC"}};
  for (int i = 0; i < 1000; ++i) sequence = {{"type", "Sequence"}, {"normalizers", json::array({sequence})}};
  EXPECT_THAT(refusal(with("/normalizer", sequence)), testing::Not(HasSubstr("(accepted)")));
}

TEST(HostileFile, AnUnknownTokenThatIsNotInTheVocabularyIsNamedWhenNeeded) {
  const Tokenizer tokenizer = parse_file(with("/model/unk_token", "<none>"));
  EXPECT_THAT(tokenizer.encode("ab", false), ElementsAre(3));
  EXPECT_THROW(tokenizer.encode("x", false), Error);
}

}  // namespace
}  // namespace awq::io
