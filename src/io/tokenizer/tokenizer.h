// tokenizer.json of Hugging Face: byte-level BPE (GPT-2, Llama-3, Qwen) and sentencepiece-style BPE with byte fallback
// (Llama-2, Mistral). Ids equal those of the PyPI package `tokenizers`.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace awq::io {

class Tokenizer {
 public:
  // Reads <folder>/tokenizer.json. Error(kBadInput) naming the part that is unknown or broken.
  static Tokenizer load(const std::filesystem::path& folder);
  static Tokenizer parse(std::string_view json, const std::string& what);  // the function under fuzzing
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Text is UTF-8; invalid bytes are replaced by U+FFFD first. With add_special_tokens the post-processor's template
  // runs.
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const;
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  int32_t vocab_size() const;  // largest id + 1, added tokens counted in
  std::optional<int32_t> token_id(std::string_view token) const;
  std::string token_text(int32_t id) const;  // as in the vocabulary ("Ġthe"), "" when there is none

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl>);
  std::unique_ptr<Impl> impl_;
};

}  // namespace awq::io
