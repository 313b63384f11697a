// quantization_config of Model Optimizer's W4A16_AWQ, as awq writes it. Exports of Model Optimizer itself lack the
// group size here, and their input scales would be refused with the tensors anyway.
#include <fmt/format.h>

#include "io/escape.h"
#include "model/config_parts.h"

namespace awq::model {
namespace {

constexpr int64_t kMaxGroup = int64_t{1} << 20;

// Of "*k_proj*" the substring that it stands for; other patterns are left alone, the tensors tell what is packed.
std::optional<std::string> as_substring(std::string_view pattern) {
  if (pattern.size() < 3 || pattern.front() != '*' || pattern.back() != '*') return std::nullopt;
  pattern = pattern.substr(1, pattern.size() - 2);
  return pattern.find_first_of("*?[]") == std::string_view::npos ? std::optional(std::string(pattern)) : std::nullopt;
}

std::vector<std::string> parse_ignored(const Fields& fields) {
  std::vector<std::string> names;
  const io::Json* list = fields.find("ignore");
  if (!list) return names;
  if (!list->array()) fields.fail(fmt::format("ignore is {}; it must be a list of names", spelled(*list)));
  for (const io::Json& entry : *list->array()) {
    if (!entry.string()) fields.fail(fmt::format("ignore holds {}, which is not a name", spelled(entry)));
    if (std::optional<std::string> name = as_substring(*entry.string())) names.push_back(std::move(*name));
  }
  return names;
}

}  // namespace

void parse_modelopt(const Fields& fields, QuantConfig& out) {
  const std::string algorithm = fields.string("quant_algo").value_or("(none named)");
  if (algorithm != "W4A16_AWQ")
    fields.fail(fmt::format("quant_algo is {}; W4A16_AWQ is what can be read", io::printable(algorithm)));
  if (fields.find("kv_cache_scheme"))
    fields.fail("kv_cache_scheme asks for a quantized key-value cache, which is not supported");
  const std::optional<int64_t> group = fields.integer("group_size", 8, kMaxGroup);
  if (!group)
    fields.fail("group_size is missing: exports of Model Optimizer itself are not read, quantize the original model");
  if (*group % 8 != 0) fields.fail(fmt::format("group_size is {}; it must be a multiple of 8", *group));
  out.bits = 4;
  out.group_size = static_cast<int>(*group);
  out.zero_point = false;
  out.version = Layout::kModelopt;
  out.modules_to_not_convert = parse_ignored(fields);
}

}  // namespace awq::model
