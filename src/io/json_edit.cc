// with_member: JSON edited as text. The text has been parsed before, so the scanner below may trust its syntax.
#include <fmt/format.h>

#include <algorithm>

#include "awq/error.h"
#include "io/escape.h"
#include "io/json.h"

namespace awq::io {
namespace {

struct Member {  // offsets into the text; the key's quotes are inside
  size_t key_begin, key_end, value_begin, value_end;
};

constexpr std::string_view kSpace = " \t\r\n";
size_t skip_space(std::string_view t, size_t i) { return std::min(t.find_first_not_of(kSpace, i), t.size()); }

size_t skip_string(std::string_view t, size_t i) {  // i: the opening quote
  for (++i; t[i] != '"'; ++i) i += t[i] == '\\';
  return i + 1;
}

size_t skip_value(std::string_view t, size_t i) {
  if (t[i] == '"') return skip_string(t, i);
  if (t[i] != '{' && t[i] != '[') return t.find_first_of(",]} \t\r\n", i);
  for (int depth = 0;;) {
    if (t[i] == '"') {
      i = skip_string(t, i);
      continue;
    }
    if (t[i] == '{' || t[i] == '[') ++depth;
    if (t[i] == '}' || t[i] == ']') --depth;
    ++i;
    if (depth == 0) return i;
  }
}

std::vector<Member> scan_members(std::string_view t, size_t open_brace) {
  std::vector<Member> members;
  for (size_t i = skip_space(t, open_brace + 1); t[i] != '}';) {
    Member m{};
    m.key_begin = i;
    m.key_end = skip_string(t, i);
    m.value_begin = skip_space(t, skip_space(t, m.key_end) + 1);  // + 1: the colon
    m.value_end = skip_value(t, m.value_begin);
    members.push_back(m);
    i = skip_space(t, m.value_end);
    if (t[i] == ',') i = skip_space(t, i + 1);
  }
  return members;
}

std::string spliced(std::string_view t, size_t begin, size_t end, std::string_view middle) {
  return std::string(t.substr(0, begin)).append(middle).append(t.substr(end));
}

std::string without(std::string_view t, const std::vector<Member>& members, size_t i) {
  if (i > 0) return spliced(t, members[i - 1].value_end, members[i].value_end, "");  // with the comma before it
  if (members.size() > 1) return spliced(t, members[0].key_begin, members[1].key_begin, "");
  return spliced(t, members[0].key_begin, members[0].value_end, "");
}

// The new member repeats the white space around the last one: its indentation and what stands about its colon.
std::string appended(std::string_view t, const std::vector<Member>& members, size_t open_brace, std::string_view key,
                     std::string_view value) {
  if (members.empty())
    return spliced(t, open_brace + 1, open_brace + 1, fmt::format("{}: {}", json_string(key), value));
  const Member& last = members.back();
  const size_t separator = t.find_last_not_of(kSpace, last.key_begin - 1) + 1;
  return spliced(t, last.value_end, last.value_end,
                 fmt::format(",{}{}{}{}", t.substr(separator, last.key_begin - separator), json_string(key),
                             t.substr(last.key_end, last.value_begin - last.key_end), value));
}

// Parsed members are in file order, so they tell which scanned one it is however its key is escaped.
struct Document {
  Document(std::string_view text, std::string_view key) : parsed(Json::parse(text, "the JSON text to edit")) {
    if (!parsed.object()) throw Error(ErrorKind::kBadInput, "the JSON text to edit is not an object");
    open_brace = text.find('{');
    members = scan_members(text, open_brace);
    const auto& names = *parsed.object();
    const auto at = std::find_if(names.begin(), names.end(), [&](const auto& m) { return m.first == key; });
    index = static_cast<size_t>(at - names.begin());
  }
  bool found() const { return index < members.size(); }

  Json parsed;
  size_t open_brace = 0, index = 0;  // members[index] is the key's, when found
  std::vector<Member> members;
};

}  // namespace

std::string with_member(std::string_view text, std::string_view key, std::string_view json_value) {
  const Document d(text, key);
  if (!d.found())
    return json_value.empty() ? std::string(text) : appended(text, d.members, d.open_brace, key, json_value);
  if (json_value.empty()) return without(text, d.members, d.index);
  return spliced(text, d.members[d.index].value_begin, d.members[d.index].value_end, json_value);
}

std::string member_text(std::string_view text, std::string_view key) {
  const Document d(text, key);
  if (!d.found()) return "";
  const Member& m = d.members[d.index];
  return std::string(text.substr(m.value_begin, m.value_end - m.value_begin));
}

}  // namespace awq::io
