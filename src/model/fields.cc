#include "model/fields.h"

#include <fmt/format.h>

#include "awq/error.h"
#include "io/escape.h"

namespace awq::model {

std::string spelled(const io::Json& value) {
  if (value.is_null()) return "null";
  if (const auto flag = value.boolean()) return *flag ? "true" : "false";
  if (const auto whole = value.integer()) return fmt::format("{}", *whole);
  if (const auto number = value.number()) return fmt::format("{}", *number);
  if (const std::string* text = value.string()) return io::printable(*text);
  return value.array() ? "a list" : "an object";
}

const io::Json* Fields::find(std::string_view key) const {
  const io::Json* value = object_.find(key);
  return value && !value->is_null() ? value : nullptr;
}

bool Fields::has_null(std::string_view key) const {
  const io::Json* value = object_.find(key);
  return value && value->is_null();
}

std::optional<int64_t> Fields::integer(std::string_view key, int64_t low, int64_t high) const {
  const io::Json* value = find(key);
  if (!value) return std::nullopt;
  const std::optional<int64_t> whole = value->integer();
  if (!whole || *whole < low || *whole > high) wrong(key, fmt::format("a whole number from {} to {}", low, high));
  return whole;
}

std::optional<double> Fields::number(std::string_view key, double low, double high) const {
  const io::Json* value = find(key);
  if (!value) return std::nullopt;
  const std::optional<double> number = value->number();
  if (!number || !(*number >= low && *number <= high)) wrong(key, fmt::format("a number from {} to {}", low, high));
  return number;
}

std::optional<bool> Fields::boolean(std::string_view key) const {
  const io::Json* value = find(key);
  if (!value) return std::nullopt;
  if (!value->boolean()) wrong(key, "true or false");
  return value->boolean();
}

std::optional<std::string> Fields::string(std::string_view key) const {
  const io::Json* value = find(key);
  if (!value) return std::nullopt;
  if (!value->string()) wrong(key, "a string");
  return *value->string();
}

void Fields::fail(const std::string& why) const { throw Error(ErrorKind::kBadInput, what_ + ": " + why); }
void Fields::missing(std::string_view key) const { fail(fmt::format("{} is missing", key)); }
void Fields::wrong(std::string_view key, const std::string& wanted) const {
  fail(fmt::format("{} is {}; it must be {}", key, spelled(*find(key)), wanted));
}

}  // namespace awq::model
