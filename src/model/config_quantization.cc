// quantization_config: one parser a method, AutoAWQ's keys here in both spellings; other methods are refused by name.
#include <fmt/format.h>

#include <algorithm>

#include "io/escape.h"
#include "model/config_parts.h"

namespace awq::model {
namespace {

constexpr int64_t kMaxGroup = int64_t{1} << 20;

struct LayoutRow {
  std::string_view name;
  Layout layout;
};
constexpr LayoutRow kLayouts[] = {{"gemm", Layout::kGemm}, {"gemv", Layout::kGemv}, {"gemv_fast", Layout::kGemvFast}};

Layout parse_layout(const Fields& fields) {
  std::string name = fields.string("version").value_or("gemm");
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  for (const LayoutRow& row : kLayouts)
    if (row.name == name) return row.layout;
  fields.fail(fmt::format("AWQ version {} is not supported; gemm, gemv and gemv_fast are", io::printable(name)));
}

int parse_bits(const Fields& fields) {
  std::optional<int64_t> bits = fields.integer("bits", 1, 16);
  if (!bits) bits = fields.integer("w_bit", 1, 16);
  if (!bits) fields.missing("bits");
  if (*bits != 4) fields.fail(fmt::format("bits is {}; 4-bit AWQ checkpoints are supported", *bits));
  return 4;
}

int parse_group(const Fields& fields) {
  std::optional<int64_t> group = fields.integer("group_size", -1, kMaxGroup);
  if (!group) group = fields.integer("q_group_size", -1, kMaxGroup);
  if (!group) fields.missing("group_size");
  if (*group != -1 && (*group < 8 || *group % 8 != 0))
    fields.fail(fmt::format("group_size is {}; it must be -1 or a multiple of 8", *group));
  return static_cast<int>(*group);
}

std::vector<std::string> parse_skipped(const Fields& fields) {
  std::vector<std::string> names;
  const io::Json* list = fields.find("modules_to_not_convert");
  if (!list) return names;
  if (!list->array())
    fields.fail(fmt::format("modules_to_not_convert is {}; it must be a list of names", spelled(*list)));
  for (const io::Json& name : *list->array()) {
    if (!name.string() || name.string()->empty())
      fields.fail(fmt::format("modules_to_not_convert holds {}, which is not a name", spelled(name)));
    names.push_back(*name.string());
  }
  return names;
}

void parse_awq(const Fields& fields, QuantConfig& quant) {
  quant.bits = parse_bits(fields);
  quant.group_size = parse_group(fields);
  quant.zero_point = fields.boolean("zero_point").value_or(true);
  quant.version = parse_layout(fields);
  quant.modules_to_not_convert = parse_skipped(fields);
}

struct MethodRow {
  std::string_view name;  // quant_method
  void (*parse)(const Fields&, QuantConfig&);
};
constexpr MethodRow kMethods[] = {
    {"awq", parse_awq}, {"compressed-tensors", parse_compressed_tensors}, {"modelopt", parse_modelopt}};

const MethodRow& method_of(const Fields& fields) {
  const std::string name = fields.string("quant_method").value_or("(none named)");
  for (const MethodRow& row : kMethods)
    if (row.name == name) return row;
  fields.fail(fmt::format(
      "the checkpoint is quantized with {}, which is not read; give the original checkpoint, an AWQ one or a "
      "compressed-tensors one with 4-bit weights",
      io::printable(name)));
}

}  // namespace

std::optional<QuantConfig> parse_quantization(const Fields& config) {
  const io::Json* object = config.find("quantization_config");
  if (!object) return std::nullopt;
  if (!object->object()) config.fail(fmt::format("quantization_config is {}; it must be an object", spelled(*object)));
  const Fields fields(*object, config.what() + ", quantization_config");
  QuantConfig quant;
  method_of(fields).parse(fields, quant);
  return quant;
}

}  // namespace awq::model
