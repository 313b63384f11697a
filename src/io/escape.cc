#include "io/escape.h"

#include <fmt/format.h>

namespace awq::io {
namespace {
constexpr size_t kLongestName = 200;
}

std::string printable(std::string_view text) {
  std::string out = "'";
  for (const char c : text.substr(0, kLongestName)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      if (c == '\'' || c == '\\') out += '\\';
      out += c;
    }
  }
  if (text.size() > kLongestName) out += fmt::format("... ({} bytes)", text.size());
  return out + "'";
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out + '"';
}

}  // namespace awq::io
