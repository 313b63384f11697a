#include "run/text_stream.h"

#include <gtest/gtest.h>

namespace awq::run {
namespace {

// Tokens are bytes; bytes that are no whole character decode to U+FFFD, one each, as tokenizers do. Like sentencepiece,
// the decoder drops one leading space of a text.
std::string decode_bytes(std::span<const int32_t> ids) {
  std::string out;
  for (size_t i = 0; i < ids.size();) {
    const int lead = ids[i];
    const size_t length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 0;
    bool whole = length > 0 && i + length <= ids.size();
    for (size_t j = 1; whole && j < length; ++j) whole = (ids[i + j] & 0xC0) == 0x80;
    if (!whole)
      out += "\xEF\xBF\xBD", ++i;
    else
      for (size_t j = 0; j < length; ++j) out += static_cast<char>(ids[i++]);
  }
  return out.starts_with(' ') ? out.substr(1) : out;
}

std::vector<int32_t> bytes(std::string_view text) {
  std::vector<int32_t> ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

std::vector<std::string> pieces(std::string_view context, std::string_view text) {
  const std::vector<int32_t> before = bytes(context);
  TextStream stream(decode_bytes, before);
  std::vector<std::string> out;
  for (const int32_t id : bytes(text)) out.push_back(stream.add(id));
  out.push_back(stream.finish());
  return out;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string all;
  for (const std::string& p : parts) all += p;
  return all;
}

TEST(TextStream, NeverSplitsACharacter) {
  const std::string text = "a\u00e9\u4e16\U0001F600z, \u00fcber";  // 1 to 4 bytes
  const std::vector<std::string> parts = pieces("x", text);
  EXPECT_EQ(joined(parts), text);
  for (const std::string& part : parts)
    EXPECT_EQ(part.find("\xEF\xBF\xBD"), std::string::npos) << "an unfinished character was given out";
  EXPECT_EQ(parts[1], "");
  EXPECT_EQ(parts[2], "\u00e9");
}

TEST(TextStream, KeepsTheSpaceBetweenPromptAndContinuation) {
  EXPECT_EQ(joined(pieces("The", " end")), " end");
  EXPECT_EQ(joined(pieces("", " end")), "end") << "at the start of a text the decoder drops it";
}

TEST(TextStream, FinishesACharacterThatThePromptBegan) { EXPECT_EQ(joined(pieces("ab\xE4\xB8", "\x96!")), "\u4e16!"); }

TEST(TextStream, DoesNotRepeatReplacementCharactersOfThePrompt) {
  EXPECT_EQ(joined(pieces("ab\xEF\xBF\xBD", "cd")), "cd");
}

TEST(TextStream, GivesOutAnUnfinishedCharacterAtTheEnd) {
  EXPECT_EQ(joined(pieces("x", "ab\xE4\xB8")), "ab\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(TextStream, SaysNothingForNothing) { EXPECT_EQ(joined(pieces("abc", "")), ""); }

}  // namespace
}  // namespace awq::run
