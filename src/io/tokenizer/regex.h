// A regular expression of tokenizer.json, which is written in Oniguruma's Ruby syntax, run by PCRE2 (compiled to
// machine code where the processor allows). The pattern is hostile: its steps and memory are limited.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>

struct pcre2_real_code_8;

namespace awq::io {

class Regex {
 public:
  explicit Regex(std::string_view ruby_pattern);  // Error(kBadInput) when it is invalid or cannot be translated
  Regex(Regex&&) noexcept;
  ~Regex();

  // Calls `on_match(begin, end)` for each match in order; an empty match right behind another one does not count.
  // Error(kBadInput) when a match takes too many steps.
  void find_all(std::string_view text, const std::function<void(size_t, size_t)>& on_match) const;

 private:
  struct FreeCode {
    void operator()(pcre2_real_code_8*) const;
  };
  std::string pattern_;  // as in the file, for messages
  std::unique_ptr<pcre2_real_code_8, FreeCode> code_;
};

// The pattern in PCRE2's syntax with the same meaning, so far as the two differ (regex_translation.cc lists how).
std::string translate_to_pcre2(std::string_view ruby_pattern);

}  // namespace awq::io
