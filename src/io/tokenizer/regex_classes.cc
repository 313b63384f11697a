#include "io/tokenizer/regex_classes.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <span>

#include "io/tokenizer/unicode_classes.h"

namespace awq::io {
namespace {

// Code points newer than PCRE2's Unicode whose category starts with `prefix` ("L", "Lu").
std::string newer_set(std::string_view prefix) {
  std::string set;
  for (const CategoryRange& r : newer_than_pcre2()) {
    if (!std::string_view(r.category).starts_with(prefix)) continue;
    set += fmt::format("\\x{{{:X}}}-\\x{{{:X}}}", static_cast<uint32_t>(r.first), static_cast<uint32_t>(r.last));
  }
  return set;
}

std::string category_set(std::string_view category) {
  return fmt::format("\\p{{{}}}{}", category, newer_set(category));
}

std::string space_set() { return R"(\t-\r \x{85}\p{Z})"; }  // without U+180E, a space to PCRE2's \s
std::string hex_set() { return "0-9A-Fa-f"; }
std::string digit_set() { return category_set("Nd"); }
std::string punctuation_set() { return category_set("P") + category_set("S"); }
// With Latin-1's superscripts and fractions, and with marks.
std::string word_set() {
  return R"(\p{Alphabetic}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})" + newer_set("L") + newer_set("Nl") + category_set("M") +
         category_set("Nd") + category_set("Pc");
}
// By script, not by script extension; with the ideographs of Unicode 15.0 and 15.1.
std::string han_set() { return R"(\p{sc:Han}\x{2EBF0}-\x{2EE5D}\x{31350}-\x{323AF})"; }

struct NamedSet {
  std::string_view name;
  std::string (*set)();
};
constexpr NamedSet kEscapes[] = {{"s", space_set}, {"w", word_set}, {"d", digit_set}, {"h", hex_set}};
constexpr NamedSet kPosixClasses[] = {
    {"punct", punctuation_set}, {"space", space_set}, {"digit", digit_set}, {"xdigit", hex_set}};
constexpr NamedSet kScripts[] = {{"Han", han_set}};

constexpr std::string_view kCategories[] = {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",
                                            "Nd", "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
                                            "S",  "Sm", "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp"};

std::optional<std::string> find_set(std::span<const NamedSet> sets, std::string_view name) {
  for (const NamedSet& row : sets) {
    if (row.name == name) return row.set();
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> escape_set(char letter) { return find_set(kEscapes, {&letter, 1}); }

std::optional<std::string> posix_set(std::string_view name) { return find_set(kPosixClasses, name); }

std::optional<std::string> property_set(std::string_view name) {
  const bool is_category = std::find(std::begin(kCategories), std::end(kCategories), name) != std::end(kCategories);
  return is_category ? category_set(name) : find_set(kScripts, name);
}

}  // namespace awq::io
