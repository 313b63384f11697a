#include "io/tokenizer/json_fields.h"

#include "awq/error.h"
#include "io/tokenizer/utf8.h"

namespace awq::io {
namespace {

[[noreturn]] void refuse_field(std::string_view name, const std::string& wanted) {
  refuse("\"" + std::string(name) + "\" must be " + wanted);
}

}  // namespace

void refuse(const std::string& sentence) { throw Error(ErrorKind::kBadInput, sentence); }

const Json& field(const Json& object, std::string_view name) {
  const Json* value = object.find(name);
  if (!value) refuse("\"" + std::string(name) + "\" is missing");
  return *value;
}

const std::string& string_field(const Json& object, std::string_view name) {
  const std::string* value = field(object, name).string();
  if (!value) refuse_field(name, "a string");
  return *value;
}

const Json::Array& array_field(const Json& object, std::string_view name) {
  const Json::Array* value = field(object, name).array();
  if (!value) refuse_field(name, "a list");
  return *value;
}

int64_t integer_field(const Json& object, std::string_view name, int64_t low, int64_t high) {
  const auto value = field(object, name).integer();
  if (!value || *value < low || *value > high) {
    refuse_field(name, "an integer from " + std::to_string(low) + " to " + std::to_string(high));
  }
  return *value;
}

bool bool_field(const Json& object, std::string_view name, bool when_absent) {
  const Json* value = object.find(name);
  if (!value || value->is_null()) return when_absent;
  if (!value->boolean()) refuse_field(name, "true or false");
  return *value->boolean();
}

std::string_view type_of(const Json& object) { return string_field(object, "type"); }

const std::string& inserted_field(const Json& object, std::string_view name) {
  constexpr size_t kLongest = 1024;
  const std::string& text = string_field(object, name);
  if (text.size() > kLongest) refuse_field(name, "at most " + std::to_string(kLongest) + " bytes long");
  return text;
}

char32_t character_field(const Json& object, std::string_view name) {
  const std::string& text = string_field(object, name);
  if (text.empty() || static_cast<size_t>(utf8_length(text[0])) != text.size()) refuse_field(name, "one character");
  const char* p = text.data();
  return next_code_point(p);
}

}  // namespace awq::io
