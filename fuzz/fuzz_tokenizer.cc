// tokenizer.json: an Error, or a tokenizer that takes any text and any ids. The input is the file, then, behind the
// last NUL byte if there is one, the text to encode.
#include <cstdint>
#include <string_view>
#include <vector>

#include "awq/error.h"
#include "io/tokenizer/tokenizer.h"

namespace {

void require(bool promise) {
  if (!promise) __builtin_trap();
}

constexpr std::string_view kText =
    "Hello  abc ab<s> it's 12345\r\n\n \u00e9\u0301\u4e2d\U0001F600 \xFF aaaaaaaaaaaaaaaaaaaaaaaaaaa";

// An accepted file may still refuse a text (a pattern that takes too many steps, a missing unknown token).
void use(const awq::io::Tokenizer& tokenizer, std::string_view text) {
  try {
    const std::vector<int32_t> ids = tokenizer.encode(text, true);
    for (const int32_t id : ids) require(id >= 0 && id < tokenizer.vocab_size());
    tokenizer.decode(ids, true);
    tokenizer.decode(std::vector<int32_t>{0, 1, 2, 3, -1, 1 << 30, tokenizer.vocab_size() - 1}, false);
  } catch (const awq::Error& e) {
    require(e.kind() == awq::ErrorKind::kBadInput && *e.what() != 0);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t nul = input.rfind('\0');
  try {
    const auto tokenizer = awq::io::Tokenizer::parse(input.substr(0, nul), "input");
    use(tokenizer, nul == input.npos ? kText : input.substr(nul + 1));
  } catch (const awq::Error& e) {
    require(e.kind() == awq::ErrorKind::kBadInput && *e.what() != 0);
  }
  return 0;
}
