// Rotary position embedding: rope_theta + rope_scaling (transformers 4) or rope_parameters (transformers 5).
#include <fmt/format.h>

#include "io/escape.h"
#include "model/config_parts.h"

namespace awq::model {
namespace {

constexpr double kMaxTheta = 1e12, kMaxFactor = 1e6;
constexpr int64_t kMaxPositions = int64_t{1} << 31;

double required(const Fields& fields, std::string_view key, double low, double high) {
  const std::optional<double> value = fields.number(key, low, high);
  if (!value) fields.missing(key);
  return *value;
}

void parse_linear(const Fields& fields, Rope& rope) { rope.factor = required(fields, "factor", 1, kMaxFactor); }

void parse_llama3(const Fields& fields, Rope& rope) {
  rope.factor = required(fields, "factor", 1, kMaxFactor);
  rope.low_freq_factor = required(fields, "low_freq_factor", 1e-3, kMaxFactor);
  rope.high_freq_factor = required(fields, "high_freq_factor", 1e-3, kMaxFactor);
  const auto original = fields.integer("original_max_position_embeddings", 1, kMaxPositions);
  if (!original) fields.missing("original_max_position_embeddings");
  rope.original_max_position = *original;
  if (rope.high_freq_factor <= rope.low_freq_factor)
    fields.fail(fmt::format("high_freq_factor {} must be above low_freq_factor {}", rope.high_freq_factor,
                            rope.low_freq_factor));
}

void parse_default(const Fields&, Rope&) {}

struct RopeRow {
  std::string_view name;
  RopeType type;
  void (*parse)(const Fields&, Rope&);
};
constexpr RopeRow kRopes[] = {{"default", RopeType::kDefault, parse_default},
                              {"linear", RopeType::kLinear, parse_linear},
                              {"llama3", RopeType::kLlama3, parse_llama3}};

void parse_scaling(const Fields& fields, Rope& rope) {
  std::optional<std::string> type = fields.string("rope_type");
  if (!type) type = fields.string("type");  // its older spelling
  if (!type) fields.missing("rope_type");
  for (const RopeRow& row : kRopes) {
    if (row.name != *type) continue;
    rope.type = row.type;
    return row.parse(fields, rope);
  }
  fields.fail(
      fmt::format("rope scaling of type {} is not supported; default, linear and llama3 are", io::printable(*type)));
}

// Only full rotation is computed; a model that rotates a part of each head would give wrong numbers in silence.
void refuse_partial(const Fields& fields) {
  const auto part = fields.number("partial_rotary_factor", 0, 1);
  if (part && *part != 1) fields.fail(fmt::format("partial_rotary_factor {} is not supported, only 1 is", *part));
}

}  // namespace

Rope parse_rope(const Fields& config, double default_theta, int64_t max_positions) {
  Rope rope;
  rope.original_max_position = max_positions;
  rope.theta = config.number("rope_theta", 1, kMaxTheta).value_or(default_theta);
  refuse_partial(config);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const io::Json* object = config.find(key);
    if (!object) continue;
    if (!object->object()) config.fail(fmt::format("{} is {}; it must be an object", key, spelled(*object)));
    const Fields fields(*object, config.what() + ", " + key);
    rope.theta = fields.number("rope_theta", 1, kMaxTheta).value_or(rope.theta);
    refuse_partial(fields);
    parse_scaling(fields, rope);
  }
  return rope;
}

}  // namespace awq::model
