// A tokenizer.json that nobody trained: byte-level BPE over every byte, whose merges spell all short words of the
// letters a to z, shortest first, until the vocabulary is full. Text of any kind becomes ids below the vocabulary's
// size, English text becomes some thousands of different ones, and every id decodes.
#pragma once
#include <cstdint>
#include <string>

namespace awq::tools {

// `bos` and `eos`, which may be one, are special tokens at these ids; nothing adds them to a text by itself.
// `vocab` has room for the 256 bytes and them.
std::string letter_tokenizer_json(int64_t vocab, int32_t bos, int32_t eos);

}  // namespace awq::tools
