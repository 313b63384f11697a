#include "letter_tokenizer.h"

#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "io/tokenizer/byte_alphabet.h"

namespace awq::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz";

struct Words {
  std::vector<std::string> tokens;  // the bytes, then the words that merges make
  std::vector<Json> merges;
};

// Breadth first, so that a merge ranks behind all merges that make shorter words: its left part is there by then.
Words spell(int64_t count) {
  Words words;
  for (int b = 0; b < 256; ++b) words.tokens.push_back(io::byte_to_character(static_cast<unsigned char>(b)));
  std::vector<std::string> stems = {words.tokens[' ']};
  for (const char letter : kLetters) stems.emplace_back(1, letter);
  for (size_t i = 0; static_cast<int64_t>(words.tokens.size()) < count; ++i)
    for (const char letter : kLetters) {
      if (static_cast<int64_t>(words.tokens.size()) == count) break;
      words.merges.push_back(Json::array({stems[i], std::string(1, letter)}));
      words.tokens.push_back(stems[i] + letter);
      stems.push_back(words.tokens.back());
    }
  return words;
}

Json special_token(int32_t id, std::string_view content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

}  // namespace

std::string letter_tokenizer_json(int64_t vocab, int32_t bos, int32_t eos) {
  Json added = Json::array({special_token(bos, "<|bos|>")});
  if (eos != bos) added.push_back(special_token(eos, "<|eos|>"));
  const Words words = spell(vocab - static_cast<int64_t>(added.size()));
  Json::object_t ids;  // filled as a list: by key it would look through all that are there
  const auto specials = [&] {
    for (const Json& token : added)
      if (token["id"] == ids.size()) ids.emplace_back(token["content"].get<std::string>(), token["id"]);
  };
  for (const std::string& token : words.tokens) {
    specials();
    ids.emplace_back(token, ids.size());
  }
  specials();  // where they come last
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const Json file = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", added},
                     {"normalizer", nullptr},
                     {"pre_tokenizer", byte_level},
                     {"post_processor", nullptr},
                     {"decoder", byte_level},
                     {"model", {{"type", "BPE"}, {"vocab", ids}, {"merges", words.merges}}}};
  return file.dump() + "\n";
}

}  // namespace awq::tools
