#include "io/tokenizer/unicode_forms.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "awq/error.h"
#include "io/tokenizer/json_fields.h"
#include "io/tokenizer/unicode_classes.h"
#include "io/tokenizer/utf8.h"

namespace awq::io {
namespace {

utf8proc_option_t options_of(UnicodeForm form) {
  int options = UTF8PROC_STABLE;
  options |= form == UnicodeForm::kNfc || form == UnicodeForm::kNfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == UnicodeForm::kNfkc || form == UnicodeForm::kNfkd) options |= UTF8PROC_COMPAT;
  return static_cast<utf8proc_option_t>(options);
}

// `text` in the form; `buffer` is working memory.
void append_form(UnicodeForm form, std::string_view text, std::vector<utf8proc_int32_t>& buffer, std::string& out) {
  if (text.empty()) return;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const auto length = static_cast<utf8proc_ssize_t>(text.size());
  const utf8proc_option_t options = options_of(form);
  buffer.resize(text.size() + 32);
  utf8proc_ssize_t count = utf8proc_decompose(bytes, length, buffer.data(), static_cast<utf8proc_ssize_t>(buffer.size()), options);
  if (count > static_cast<utf8proc_ssize_t>(buffer.size())) {
    buffer.resize(static_cast<size_t>(count));
    count = utf8proc_decompose(bytes, length, buffer.data(), count, options);
  }
  if (count >= 0) count = utf8proc_normalize_utf32(buffer.data(), count, options);
  if (count < 0) refuse(std::string("the text cannot be normalized: ") + utf8proc_errmsg(count));
  for (utf8proc_ssize_t i = 0; i < count; ++i) append_utf8(out, static_cast<char32_t>(buffer[i]));
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace

// An inert character neither changes nor lets marks pass, so the text falls apart at each.
std::string to_form(UnicodeForm form, std::string_view text) {
  if (is_ascii(text)) return std::string(text);
  const uint8_t* classes = char_classes();
  std::vector<utf8proc_int32_t> buffer;
  std::string out;
  out.reserve(text.size());
  const char* const end = text.data() + text.size();
  const char* begin = text.data();
  for (const char* p = begin; p < end;) {
    const char* const at = p;
    if (!(classes[next_code_point(p)] & kInert)) continue;
    append_form(form, {begin, static_cast<size_t>(at - begin)}, buffer, out);
    out.append(at, p);
    begin = p;
  }
  append_form(form, {begin, static_cast<size_t>(end - begin)}, buffer, out);
  return out;
}

}  // namespace awq::io
