// simdjson's tree with our rules on top; included only by the readers that are too large for io::Json.
#pragma once
#include <simdjson.h>

#include <string>
#include <string_view>

namespace awq::io {

// The tree lives in `parser`. `what` names the source in messages.
simdjson::dom::element parse_document(simdjson::dom::parser& parser, std::string_view text, const std::string& what);

// simdjson keeps duplicates; readers differ on which one wins, so two of them mean that two programs see two files.
void refuse_duplicate_keys(simdjson::dom::object, const std::string& what);

// Calls on_char(i) for each character of `text` outside of strings, in order. `text` need not be valid JSON.
template <class OnChar>
void for_each_outside_strings(std::string_view text, OnChar&& on_char) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '"') {
      on_char(i);
      continue;
    }
    for (++i; i < text.size() && text[i] != '"'; ++i) i += text[i] == '\\';
  }
}

}  // namespace awq::io
