// Tokenizer files of a few tokens, written by hand, for tests that change one thing in them.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/tokenizer/tokenizer.h"

namespace awq::io {

inline nlohmann::json added_token(const std::string& content, int id) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

// a b c ab abc, and " " as Ġ; merges (a, b) then (ab, c); added token <s>.
inline nlohmann::json byte_level_file() {
  return {{"version", "1.0"},
          {"added_tokens", nlohmann::json::array({added_token("<s>", 6)})},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
          {"model",
           {{"type", "BPE"},
            {"unk_token", nullptr},
            {"vocab", {{"a", 0}, {"b", 1}, {"c", 2}, {"ab", 3}, {"abc", 4}, {"\u0120", 5}}},
            {"merges", nlohmann::json::parse(R"([["a", "b"], ["ab", "c"]])")}}}};
}

inline Tokenizer parse_file(const nlohmann::json& file) { return Tokenizer::parse(file.dump(), "tokenizer.json"); }

inline std::vector<int32_t> encode_with(const nlohmann::json& file, std::string_view text) {
  return parse_file(file).encode(text, false);
}

}  // namespace awq::io
