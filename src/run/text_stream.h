// Turns tokens into text piece by piece, never in the middle of a character.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace awq::run {

using Decode = std::function<std::string(std::span<const int32_t>)>;

class TextStream {
 public:
  // `context` is what the new tokens follow: decoders treat the first token of a text differently (a leading space).
  TextStream(Decode, std::span<const int32_t> context);
  // Text that became certain with this token; empty while the bytes so far end inside a character.
  std::string add(int32_t id);
  std::string finish();  // what is left, an unfinished character as U+FFFD

 private:
  std::string take(bool even_unfinished);

  Decode decode_;
  std::vector<int32_t> ids_;
  size_t before_ = 0, emitted_ = 0;  // ids_[before_, emitted_) is text already given out, kept as context
};

}  // namespace awq::run
