#include "io/tokenizer/unicode_forms.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "io/tokenizer/json_fields.h"
#include "io/tokenizer/unicode_classes.h"
#include "io/tokenizer/utf8.h"

namespace awq::io {
namespace {

struct FormOptions {
  bool compatible, composed;
};
constexpr FormOptions kOptions[] = {
    {false, true}, {false, false}, {true, true}, {true, false}};  // in UnicodeForm's order

using CodePoints = std::vector<utf8proc_int32_t>;

// Appends what the form makes of `c` before marks are put in order and characters composed.
void append_decomposed(char32_t c, FormOptions form, CodePoints& out) {
  constexpr size_t kLongest = 18;  // U+FDFA in NFKD
  const int options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (form.compatible ? UTF8PROC_COMPAT : 0);
  const size_t size = out.size();
  int bounds = 0;
  out.resize(size + kLongest);
  const utf8proc_ssize_t count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), out.data() + size, kLongest,
                                                         static_cast<utf8proc_option_t>(options), &bounds);
  if (count < 0 || count > static_cast<utf8proc_ssize_t>(kLongest)) refuse("the text cannot be normalized");
  out.resize(size + static_cast<size_t>(count));
}

int combining_class(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

// Sorts each run of marks by class. utf8proc's own loop for this takes quadratic time on a long run.
void order_marks(CodePoints& text) {
  const auto is_mark = [](utf8proc_int32_t c) { return combining_class(c) != 0; };
  const auto by_class = [](utf8proc_int32_t a, utf8proc_int32_t b) { return combining_class(a) < combining_class(b); };
  for (auto begin = text.begin(); begin != text.end();) {
    begin = std::find_if(begin, text.end(), is_mark);
    const auto end = std::find_if_not(begin, text.end(), is_mark);
    std::stable_sort(begin, end, by_class);
    begin = end;
  }
}

// Ends a stretch between inert characters: in order, composed if the form is, as UTF-8.
void flush(CodePoints& stretch, FormOptions form, std::string& out) {
  order_marks(stretch);
  auto count = static_cast<utf8proc_ssize_t>(stretch.size());
  if (form.composed) {
    constexpr int kCompose = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    count = utf8proc_normalize_utf32(stretch.data(), count, static_cast<utf8proc_option_t>(kCompose));
    if (count < 0) refuse("the text cannot be normalized");
  }
  for (utf8proc_ssize_t i = 0; i < count; ++i) append_utf8(out, static_cast<char32_t>(stretch[i]));
  stretch.clear();
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace

// An inert character neither changes nor lets marks pass, so the text falls apart at each.
std::string to_form(UnicodeForm form, std::string_view text) {
  if (is_ascii(text)) return std::string(text);
  const uint8_t* classes = char_classes();
  const FormOptions options = kOptions[static_cast<int>(form)];
  CodePoints stretch;
  std::string out;
  out.reserve(text.size());
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    const char32_t c = next_code_point(p);
    if (classes[c] & kInert) {
      flush(stretch, options, out);
      append_utf8(out, c);
    } else {
      append_decomposed(c, options, stretch);
    }
  }
  flush(stretch, options, out);
  return out;
}

}  // namespace awq::io
