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

#include "io/tokenizer/json_fields.h"
#include "io/tokenizer/regex.h"
#include "io/tokenizer/regex_classes.h"
#include "io/tokenizer/utf8.h"

namespace awq::io {
namespace {

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
    if (const auto set = escape_set(lower)) return put_set(*set, c != lower);
    if (lower == 'p') return put_property(c == 'P');
    if (lower == 'b') return put_word_boundary(c == 'B');
    if (std::string_view("AzZR").find(c) != std::string_view::npos) return void(out_ += {'\\', c});
    put_literal_escape(c);
  }
  void put_set(const std::string& set, bool negated) { out_ += (negated ? "[^" : "[") + set + "]"; }

  void put_word_boundary(bool negated) {
    const std::string word = fmt::format("[{}]", *escape_set('w'));
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
    if (const auto set = property_set(name)) return *set;
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
    if (const auto set = escape_set(c)) {
      out_ += *set;
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
    const auto set = posix_set(name);
    if (!set || !take_if("]")) unsupported("the class [:" + std::string(name) + ":]");
    out_ += *set;
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
