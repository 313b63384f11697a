#include "run/text_stream.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace awq::run {
namespace {

// Enough tokens for a decoder to see that it is not at the start of a text and to finish any character begun before.
constexpr size_t kContext = 6;
constexpr std::string_view kReplacement =
    "\xEF\xBF\xBD";  // U+FFFD, which a decoder writes for bytes that are no character

// Bytes of `all` that were given out when the text stood at `known`. A context that ended inside a character decoded to
// replacement characters there, which the bytes that followed may have made a character.
size_t given_out(std::string_view known, std::string_view all) {
  if (all.starts_with(known)) return known.size();
  while (known.ends_with(kReplacement)) known.remove_suffix(kReplacement.size());
  return std::min(known.size(), all.size());
}

}  // namespace

TextStream::TextStream(Decode decode, std::span<const int32_t> context) : decode_(std::move(decode)) {
  const auto tail = context.last(std::min(context.size(), kContext));
  ids_.assign(tail.begin(), tail.end());
  emitted_ = ids_.size();
}

std::string TextStream::add(int32_t id) {
  ids_.push_back(id);
  return take(false);
}

std::string TextStream::finish() { return take(true); }

std::string TextStream::take(bool even_unfinished) {
  const std::span<const int32_t> ids(ids_);
  const std::string known = decode_(ids.subspan(before_, emitted_ - before_)), all = decode_(ids.subspan(before_));
  const size_t given = given_out(known, all);
  if (all.size() <= given || (all.ends_with(kReplacement) && !even_unfinished)) return {};
  before_ = emitted_;
  emitted_ = ids_.size();
  return all.substr(given);
}

}  // namespace awq::run
