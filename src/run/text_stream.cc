#include "run/text_stream.h"

#include <algorithm>
#include <utility>

namespace awq::run {
namespace {

// Enough tokens for a decoder to see that it is not at the start of a text and to finish any character begun before.
constexpr size_t kContext = 6;
constexpr std::string_view kReplacement =
    "\xEF\xBF\xBD";  // U+FFFD, which a decoder writes for bytes that are no character

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
  if (all.size() <= known.size() || (all.ends_with(kReplacement) && !even_unfinished)) return {};
  before_ = emitted_;
  emitted_ = ids_.size();
  return all.substr(known.size());
}

}  // namespace awq::run
