// Reading the parts of tokenizer.json: a field that is missing or of another type is an Error(kBadInput) that names it.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "io/escape.h"
#include "io/json.h"

namespace awq::io {

[[noreturn]] void refuse(const std::string& sentence);

const Json& field(const Json& object, std::string_view name);
const std::string& string_field(const Json& object, std::string_view name);
const Json::Array& array_field(const Json& object, std::string_view name);
int64_t integer_field(const Json& object, std::string_view name, int64_t low, int64_t high);  // inside [low, high]
bool bool_field(const Json& object, std::string_view name, bool when_absent);
std::string_view type_of(const Json& object);
// A text that is put into others any number of times, so that its length multiplies: at most 1 KB.
const std::string& inserted_field(const Json& object, std::string_view name);
char32_t character_field(const Json& object, std::string_view name);  // a string of exactly one code point

// One row a value of "type"; `make` builds the part from its JSON.
template <class Part>
struct PartRow {
  std::string_view type;
  Part (*make)(const Json&);
};

template <class Part>
Part make_part(std::span<const PartRow<Part>> rows, const Json& object, std::string_view kind) {
  std::string known;
  for (const PartRow<Part>& row : rows) {
    if (row.type == type_of(object)) return row.make(object);
    known += (known.empty() ? "" : ", ") + std::string(row.type);
  }
  refuse("the " + std::string(kind) + " " + printable(type_of(object)) + " is not supported (supported: " + known +
         ")");
}

}  // namespace awq::io
