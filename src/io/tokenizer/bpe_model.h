// Byte pair encoding of one word: characters to tokens, then merges.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/tokenizer/merge_table.h"
#include "io/tokenizer/vocabulary.h"
#include "io/tokenizer/word_cache.h"

namespace awq::io {

class Json;

// Working memory of one thread's encoding.
struct BpeScratch {
  WordCache cache;
  std::vector<int32_t> symbols;
  std::string token;
};

class BpeModel {
 public:
  // `byte_level`: words are raw bytes and the vocabulary writes them in the alphabet of byte_alphabet.h; otherwise
  // words are UTF-8 and the vocabulary is, too.
  BpeModel(const Json& model, bool byte_level);

  void encode_word(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const;
  const Vocabulary& vocabulary() const { return vocabulary_; }
  // Whether `mark` is a token and no merge makes a token with `mark` behind another character. Then a text may be cut
  // before every `mark` that follows another character: its parts encode as the whole does.
  bool can_cut_before(std::string_view mark) const;

 private:
  void read_vocabulary(const Json& model);
  void read_merges(const Json& model);
  std::optional<int32_t> token_of_word(std::string_view word, std::string& token) const;
  void split_characters(std::string_view word, std::vector<int32_t>& symbols) const;

  // Characters to symbols, with the rules for those that are not in the vocabulary.
  class CharacterSink;

  bool byte_level_, fuse_unknown_, byte_fallback_, ignore_merges_;
  std::string unknown_token_;  // "" when there is none
  Vocabulary vocabulary_;
  MergeTable merges_;
  std::vector<int32_t> merged_tokens_;       // what the merges make
  size_t longest_token_ = 0;                 // bytes
  std::array<int32_t, 256> symbol_of_byte_;  // of a byte (byte_level) or an ASCII character; -1: look further
  std::array<int32_t, 256> fallback_token_;  // "<0xNN>"; -1 when there is none
};

}  // namespace awq::io
