// Ruby's regular expressions, as Oniguruma 6.9.10 (Unicode 16.0) reads them, in the syntax of PCRE2 10.42
// (Unicode 14.0). What means the same in both is copied. What differs:
//
//   Ruby                 PCRE2
//   \s \S                a class without U+180E, which PCRE2 counts as a space
//   \w \d \p{..}         the class plus the code points that Unicode 15.0 to 16.0 added
//   \b \B                look-arounds with that \w
//   \h \v \uHHHH {,n}    [0-9A-Fa-f], \x0B, \x{HHHH}, {0,n}
//   (?m)                 (?s); and ^ $ always match at lines (compiled so)
//
// Left as they are: regardless of case, Oniguruma lets "ss" match a sharp s and the like, PCRE2 only single characters
// and only those of Unicode 14.0; U+1171E, which Unicode 16.0 moved from Mn to Mc. What PCRE2 would read otherwise and
// we do not translate is refused by name; so are back references and calls, whose cost the step budget of regex.cc does
// not see.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <span>

#include "io/tokenizer/json_fields.h"
#include "io/tokenizer/regex.h"
#include "io/tokenizer/unicode_classes.h"
#include "io/tokenizer/utf8.h"

namespace awq::io {
namespace {

// All of these go between the brackets of a class.
constexpr std::string_view kSpaceSet = R"(\t-\r \x{85}\p{Z})";
constexpr std::string_view kHexSet = "0-9A-Fa-f";

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

std::string word_set() {
  return R"(\p{Alphabetic}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})" + newer_set("L") + newer_set("Nl") + category_set("M") +
         category_set("Nd") + category_set("Pc");
}

std::string space_set() { return std::string(kSpaceSet); }
std::string hex_set() { return std::string(kHexSet); }
std::string digit_set() { return category_set("Nd"); }
std::string punctuation_set() { return category_set("P") + category_set("S"); }
// By script, not by script extension; with the ideographs of Unicode 15.0 and 15.1.
std::string han_set() { return R"(\p{sc:Han}\x{2EBF0}-\x{2EE5D}\x{31350}-\x{323AF})"; }

struct NamedSet {
  std::string_view name;
  std::string (*set)();
};
constexpr NamedSet kEscapes[] = {{"s", space_set}, {"w", word_set}, {"d", digit_set}, {"h", hex_set}};
constexpr NamedSet kPosixClasses[] = {
    {"punct", punctuation_set}, {"space", space_set}, {"digit", digit_set}, {"xdigit", hex_set}};

const NamedSet* find_set(std::span<const NamedSet> sets, std::string_view name) {
  for (const NamedSet& row : sets) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

constexpr std::string_view kCategories[] = {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",
                                            "Nd", "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
                                            "S",  "Sm", "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp"};

class Translation {
 public:
  explicit Translation(std::string_view pattern) : rest_(pattern) {}

  std::string run() {
    while (!rest_.empty()) element();
    return std::move(out_);
  }

 private:
  [[noreturn]] static void unsupported(std::string_view what) {
    refuse("the regular expression uses " + std::string(what) + ", which is not supported");
  }
  char take() {
    if (rest_.empty()) refuse("the regular expression ends in the middle of an escape or a class");
    const char c = rest_[0];
    rest_.remove_prefix(1);
    return c;
  }
  bool take_if(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  std::string_view take_until(char last) {
    const size_t at = rest_.find(last);
    if (at == rest_.npos) refuse(fmt::format("the regular expression lacks a '{}'", last));
    const std::string_view text = rest_.substr(0, at);
    rest_.remove_prefix(at + 1);
    return text;
  }

  void element() {
    const char c = take();
    if (c == '\\')
      escape();
    else if (c == '[')
      char_class();
    else if (c == '(')
      group();
    else if (c == '{')
      interval();
    else
      out_ += c;
  }

  void escape() {
    const char c = take();
    const char lower = static_cast<char>(c | 0x20);
    if (const NamedSet* row = find_set(kEscapes, {&lower, 1})) return put_set(row->set(), c != lower);
    if (lower == 'p') return put_property(c == 'P');
    if (lower == 'b') return put_word_boundary(c == 'B');
    if (std::string_view("AzZR").find(c) != std::string_view::npos) return void(out_ += {'\\', c});
    put_literal_escape(c);
  }
  void put_set(const std::string& set, bool negated) { out_ += (negated ? "[^" : "[") + set + "]"; }

  void put_word_boundary(bool negated) {
    const std::string word = fmt::format("[{}]", word_set());
    out_ += negated ? fmt::format("(?:(?<={0})(?={0})|(?<!{0})(?!{0}))", word)
                    : fmt::format("(?:(?<={0})(?!{0})|(?<!{0})(?={0}))", word);
  }

  // The escapes that stand for one character, inside and outside of classes.
  void put_literal_escape(char c) {
    if (std::string_view("tnrfae").find(c) != std::string_view::npos) {
      out_ += {'\\', c};
    } else if (c == 'v') {
      out_ += "\\x0B";
    } else if (c == 'u') {
      put_code_point(take_digits(4));
    } else if (c == 'x') {
      put_code_point(take_if("{") ? std::string(take_until('}')) : take_digits(2));
    } else if (std::isalnum(static_cast<unsigned char>(c))) {
      unsupported(fmt::format("\\{}", c));
    } else {
      if (static_cast<unsigned char>(c) < 0x80) out_ += '\\';
      out_ += c;
    }
  }
  std::string take_digits(int count) {
    std::string digits;
    while (count-- > 0) digits += take();
    return digits;
  }
  void put_code_point(const std::string& digits) {
    const bool hexadecimal =
        !digits.empty() && digits.size() <= 6 &&
        std::all_of(digits.begin(), digits.end(), [](unsigned char d) { return std::isxdigit(d); });
    if (!hexadecimal) unsupported("a malformed \\x or \\u");
    if (digits.size() == 2 && digits[0] >= '8') unsupported("\\x above 7F, a byte of a character");
    out_ += "\\x{" + digits + "}";
  }

  std::string take_property_set(bool& negated) {
    if (!take_if("{")) unsupported("\\p without braces");
    std::string_view name = take_until('}');
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    if (std::find(std::begin(kCategories), std::end(kCategories), name) != std::end(kCategories))
      return category_set(name);
    if (name == "Han") return han_set();
    unsupported("the property " + printable(name));
  }
  void put_property(bool negated) {
    const std::string set = take_property_set(negated);
    put_set(set, negated);
  }

  void char_class() {
    out_ += take_if("^") ? "[^" : "[";
    if (rest_.starts_with(']')) unsupported("an empty class");
    for (char c = take(); c != ']'; c = take()) {
      if (c == '\\')
        class_escape();
      else if (c == '[')
        posix_class();
      else if (c == '&' && rest_.starts_with('&'))
        unsupported("&& in a class");
      else
        out_ += c;
    }
    out_ += ']';
  }
  void class_escape() {
    const char c = take();
    const char name[] = {c, '\0'};
    if (const NamedSet* row = find_set(kEscapes, name)) {
      out_ += row->set();
    } else if (c == 'S') {
      out_ += R"(\S\x{180E})";
    } else if (c == 'b') {
      out_ += R"(\x08)";
    } else if (c == 'p') {
      bool negated = false;
      out_ += take_property_set(negated);
      if (negated) unsupported("a negated property in a class");
    } else {
      put_literal_escape(c);
    }
  }
  void posix_class() {
    if (!take_if(":")) unsupported("a class in a class");
    const std::string_view name = take_until(':');
    const NamedSet* row = find_set(kPosixClasses, name);
    if (!row || !take_if("]")) unsupported("the class [:" + std::string(name) + ":]");
    out_ += row->set();
  }

  void group() {
    out_ += '(';
    if (rest_.starts_with('*')) unsupported("(*");
    if (!take_if("?")) return;
    out_ += '?';
    if (rest_.empty()) return;
    const char c = rest_[0];
    if (std::string_view(":=!>#<").find(c) != std::string_view::npos) return void(out_ += take());
    while (!rest_.empty() && rest_[0] != ':' && rest_[0] != ')') {
      const char option = take();
      if (std::string_view("imx-").find(option) == std::string_view::npos)
        unsupported(fmt::format("(?{}", printable({&option, 1})));
      out_ += option == 'm' ? 's' : option;
    }
  }

  // {n} {n,} {n,m} {,m}; any other brace is a character.
  void interval() {
    const size_t last = rest_.find_first_not_of("0123456789,");
    const std::string_view range = last == rest_.npos || rest_[last] != '}' ? "" : rest_.substr(0, last);
    if (range.find_first_of("0123456789") == range.npos || std::count(range.begin(), range.end(), ',') > 1) {
      out_ += "\\{";
      return;
    }
    rest_.remove_prefix(last + 1);
    if (rest_.starts_with('+')) unsupported("+ behind an interval");
    if (rest_.starts_with('?') && range.find(',') == range.npos) unsupported("? behind {n}");
    out_ += (range[0] == ',' ? "{0" : "{") + std::string(range) + "}";
  }

  std::string_view rest_;
  std::string out_;
};

}  // namespace

std::string translate_to_pcre2(std::string_view ruby_pattern) { return Translation(ruby_pattern).run(); }

}  // namespace awq::io
