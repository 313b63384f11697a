#include "io/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "awq/error.h"
#include "io/escape.h"
#include "io/json_dom.h"

namespace awq::io {
namespace dom = simdjson::dom;
namespace {

constexpr size_t kMaxDepth = 128;  // bounds our recursion; a tokenizer.json nests about 10 deep

// Python's json writes these outside of the standard; "-Infinity" before "Infinity" so that the sign goes with it.
constexpr std::string_view kNotNumbers[] = {"NaN", "-Infinity", "Infinity"};

std::string without_not_numbers(std::string_view text) {
  std::string out;
  size_t copied = 0;
  for_each_outside_strings(text, [&](size_t i) {
    if (i < copied) return;
    for (const std::string_view word : kNotNumbers) {
      if (!text.substr(i).starts_with(word)) continue;
      out.append(text.substr(copied, i - copied)).append("null");
      copied = i + word.size();
      return;
    }
  });
  return out.append(text.substr(copied));
}

bool may_hold_not_numbers(std::string_view text) {
  return text.find("NaN") != text.npos || text.find("Infinity") != text.npos;
}

}  // namespace

dom::element parse_document(dom::parser& parser, std::string_view text, const std::string& what) {
  dom::element root;
  simdjson::error_code error = parser.allocate(std::max<size_t>(text.size(), 1), kMaxDepth);
  if (!error) error = parser.parse(text.data(), text.size()).get(root);
  if (!error) return root;
  throw Error(error == simdjson::MEMALLOC ? ErrorKind::kNoRoom : ErrorKind::kBadInput,
              fmt::format("{} is not valid JSON: {}", what, simdjson::error_message(error)));
}

void refuse_duplicate_keys(dom::object object, const std::string& what) {
  std::vector<std::string_view> keys;
  for (const dom::key_value_pair& field : object) keys.push_back(field.key);
  std::sort(keys.begin(), keys.end());
  const auto twice = std::adjacent_find(keys.begin(), keys.end());
  if (twice != keys.end())
    throw Error(ErrorKind::kBadInput, fmt::format("{} holds the key {} twice", what, printable(*twice)));
}

struct Json::Builder {
  const std::string& what;

  Json build(dom::element e) const {
    Json json;
    switch (e.type()) {
      case dom::element_type::ARRAY: json.value_ = build_array(e.get_array().value_unsafe()); break;
      case dom::element_type::OBJECT: json.value_ = build_object(e.get_object().value_unsafe()); break;
      case dom::element_type::INT64: json.value_ = e.get_int64().value_unsafe(); break;
      case dom::element_type::UINT64: json.value_ = e.get_uint64().value_unsafe(); break;
      case dom::element_type::DOUBLE: json.value_ = e.get_double().value_unsafe(); break;
      case dom::element_type::STRING: json.value_ = std::string(e.get_string().value_unsafe()); break;
      case dom::element_type::BOOL: json.value_ = e.get_bool().value_unsafe(); break;
      case dom::element_type::NULL_VALUE: break;
    }
    return json;
  }

  Array build_array(dom::array array) const {
    Array out;
    out.reserve(array.size());
    for (const dom::element e : array) out.push_back(build(e));
    return out;
  }

  Object build_object(dom::object object) const {
    refuse_duplicate_keys(object, what);
    Object out;
    out.reserve(object.size());
    for (const dom::key_value_pair& field : object) out.emplace_back(field.key, build(field.value));
    return out;
  }
};

Json Json::parse(std::string_view text, const std::string& what) {
  std::string replaced;
  if (may_hold_not_numbers(text)) text = replaced = without_not_numbers(text);
  dom::parser parser;
  return Builder{what}.build(parse_document(parser, text, what));
}

std::optional<bool> Json::boolean() const {
  if (const bool* b = std::get_if<bool>(&value_)) return *b;
  return std::nullopt;
}

std::optional<int64_t> Json::integer() const {
  if (const int64_t* i = std::get_if<int64_t>(&value_)) return *i;
  const double* d = std::get_if<double>(&value_);
  // 2^63 itself is a double and does not fit; -2^63 does.
  if (d && *d >= -0x1p63 && *d < 0x1p63 && *d == std::trunc(*d)) return static_cast<int64_t>(*d);
  return std::nullopt;
}

std::optional<double> Json::number() const {
  if (const int64_t* i = std::get_if<int64_t>(&value_)) return static_cast<double>(*i);
  if (const uint64_t* u = std::get_if<uint64_t>(&value_)) return static_cast<double>(*u);
  if (const double* d = std::get_if<double>(&value_)) return *d;
  return std::nullopt;
}

const std::string* Json::string() const { return std::get_if<std::string>(&value_); }
const Json::Array* Json::array() const { return std::get_if<Array>(&value_); }
const Json::Object* Json::object() const { return std::get_if<Object>(&value_); }

const Json* Json::find(std::string_view key) const {
  const Object* members = object();
  if (!members) return nullptr;
  const auto at = std::find_if(members->begin(), members->end(), [&](const auto& m) { return m.first == key; });
  return at == members->end() ? nullptr : &at->second;
}

}  // namespace awq::io
