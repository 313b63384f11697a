// JSON from untrusted files: parsed by simdjson, duplicate keys refused, nesting limited; and the one edit we make to
// config.json, done on its text so that unknown keys, order and number spelling survive.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace awq::io {

// An immutable JSON value. Accessors return nullopt on absence or another type: the caller knows how to complain.
class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;  // in file order, keys unique
  // NaN and +-Infinity, which Python writes, are accepted as null. `what` names the file in messages.
  static Json parse(std::string_view text, const std::string& what);  // nesting up to 128 levels

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(value_); }
  std::optional<bool> boolean() const;
  std::optional<int64_t> integer() const;  // also from an integral float such as 4096.0
  std::optional<double> number() const;
  const std::string* string() const;  // nullptr when it is something else
  const Array* array() const;
  const Object* object() const;
  const Json* find(std::string_view key) const;  // of an object; nullptr when absent or not an object

 private:
  struct Builder;  // from simdjson's tree, in json.cc
  std::variant<std::nullptr_t, bool, int64_t, uint64_t, double, std::string, Array, Object> value_ = nullptr;
};

// `text` with the top-level member `key` replaced or appended; everything else stays as it was, byte for byte.
// `json_value` is JSON; an empty one removes the member.
std::string with_member(std::string_view text, std::string_view key, std::string_view json_value);

// The top-level member `key` as it is written, or "" when there is none.
std::string member_text(std::string_view text, std::string_view key);

}  // namespace awq::io
