// config.json's members, read with the range each may have; a complaint names the field, its value and the range.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "io/json.h"

namespace awq::model {

class Fields {
 public:
  Fields(const io::Json& object, std::string what) : object_(object), what_(std::move(what)) {}

  // Absent and null are the same, as they are to transformers.
  const io::Json* find(std::string_view key) const;
  bool has_null(std::string_view key) const;
  std::optional<int64_t> integer(std::string_view key, int64_t low, int64_t high) const;
  std::optional<double> number(std::string_view key, double low, double high) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string> string(std::string_view key) const;

  // "<file>: <why>"; kBadInput.
  [[noreturn]] void fail(const std::string& why) const;
  [[noreturn]] void missing(std::string_view key) const;
  const std::string& what() const { return what_; }

 private:
  [[noreturn]] void wrong(std::string_view key, const std::string& wanted) const;
  const io::Json& object_;
  std::string what_;
};

std::string spelled(const io::Json&);  // a value as a message shows it

}  // namespace awq::model
