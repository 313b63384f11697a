#include "io/tokenizer/unicode_classes.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

namespace awq::io {
namespace {

struct ClassRange {
  char32_t first, last;
  uint8_t classes;
};
struct LowercasePair {
  char32_t upper, lower;
};
#include "io/tokenizer/unicode_ranges.inc"

std::vector<uint8_t> expand_ranges() {
  std::vector<uint8_t> classes(0x110000);
  for (const ClassRange& r : kClassRanges)
    std::fill(classes.begin() + r.first, classes.begin() + r.last + 1, r.classes);
  return classes;
}

}  // namespace

const uint8_t* char_classes() {
  static const std::vector<uint8_t> classes = expand_ranges();
  return classes.data();
}

std::span<const CategoryRange> newer_than_pcre2() { return kNewerThanPcre2; }

char32_t to_lowercase(char32_t c) {
  for (const LowercasePair& pair : kNewLowercase) {
    if (pair.upper == c) return pair.lower;
  }
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

}  // namespace awq::io
