// quantization_config of compressed-tensors: W4A16 and W4A16_ASYM in pack-quantized form are read. What changes the
// meaning of the weights or of the model around them is refused by its key; what only tells how they were made is not
// looked at.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <span>

#include "io/escape.h"
#include "model/config_parts.h"

namespace awq::model {
namespace {

constexpr int64_t kMaxGroup = int64_t{1} << 20;

// A value that must be there, or must be the default when it is.
struct WordRow {
  std::string_view key, wanted;
};
constexpr WordRow kTopWords[] = {{"format", "pack-quantized"}, {"quantization_status", "compressed"}};
constexpr WordRow kGroupWords[] = {{"format", "pack-quantized"}};
constexpr WordRow kWeightWords[] = {{"type", "int"}};

void require_words(const Fields& fields, std::span<const WordRow> rows) {
  for (const WordRow& row : rows)
    if (const std::string word = fields.string(row.key).value_or(std::string(row.wanted)); word != row.wanted)
      fields.fail(fmt::format("{} is {}; {} is what can be read", row.key, io::printable(word), row.wanted));
}

// Null, false, an empty object or list, {"format": "dense"}: a feature that is not used.
bool is_unused(const io::Json& value) {
  if (value.is_null() || value.boolean() == false) return true;
  if (const auto* list = value.array()) return list->empty();
  const auto* object = value.object();
  if (object == nullptr) return false;
  const auto off = [](const auto& member) {
    return member.first == "format" && member.second.string() && *member.second.string() == "dense";
  };
  return object->empty() || std::any_of(object->begin(), object->end(), off);
}

struct FeatureRow {
  std::string_view key, what;
};
constexpr FeatureRow kTopFeatures[] = {{"kv_cache_scheme", "a quantized key-value cache"},
                                       {"sparsity_config", "sparse weights"},
                                       {"transform_config", "rotated activations"}};
constexpr FeatureRow kGroupFeatures[] = {{"input_activations", "quantized activations"},
                                         {"output_activations", "quantized activations"}};
constexpr FeatureRow kWeightFeatures[] = {{"dynamic", "weights that are quantized at run time"},
                                          {"block_structure", "scales for blocks of a matrix"}};

void refuse_features(const Fields& fields, std::span<const FeatureRow> rows) {
  for (const FeatureRow& row : rows)
    if (const io::Json* value = fields.find(row.key); value && !is_unused(*value))
      fields.fail(fmt::format("{} asks for {}, which is not supported: 4-bit weights with 16-bit activations are",
                              row.key, row.what));
}

const io::Json& object_at(const Fields& fields, std::string_view key) {
  const io::Json* value = fields.find(key);
  if (!value) fields.missing(key);
  if (!value->object()) fields.fail(fmt::format("{} is {}; it must be an object", key, spelled(*value)));
  return *value;
}

const io::Json& only_group(const Fields& fields) {
  const io::Json& groups = object_at(fields, "config_groups");
  const size_t count = groups.object()->size();
  if (count != 1)
    fields.fail(fmt::format("config_groups has {} groups; checkpoints with one, all linears alike, are read", count));
  const io::Json& group = groups.object()->front().second;
  if (!group.object()) fields.fail(fmt::format("config_groups holds {}; it must be an object", spelled(group)));
  return group;
}

int parse_group_size(const Fields& weights) {
  const std::string strategy = weights.string("strategy").value_or("group");
  if (strategy == "channel") return -1;
  if (strategy != "group")
    weights.fail(fmt::format("strategy is {}; group and channel are read", io::printable(strategy)));
  const std::optional<int64_t> group = weights.integer("group_size", -1, kMaxGroup);
  if (!group) weights.missing("group_size");
  if (*group != -1 && (*group < 8 || *group % 8 != 0))
    weights.fail(fmt::format("group_size is {}; it must be -1 or a multiple of 8", *group));
  return static_cast<int>(*group);
}

// The text that a pattern without operators matches; nullopt for one with operators, "\d" among them.
std::optional<std::string> literal(std::string_view pattern) {
  std::string text;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const bool escaped = pattern[i] == '\\';
    if (escaped && ++i == pattern.size()) return std::nullopt;
    const char c = pattern[i];
    if (escaped ? std::isalnum(static_cast<unsigned char>(c)) != 0
                : std::string_view("^$*+?{}[]()|").find(c) != std::string_view::npos)
      return std::nullopt;
    text += c;
  }
  return text;
}

// "re:.*k_proj.*" is how a list of substrings becomes a list of patterns; back again where it is of that form. Other
// patterns are left alone: which modules are packed is read from the tensors.
std::optional<std::string> as_substring(std::string_view entry) {
  constexpr std::string_view kBefore = "re:.*", kAfter = ".*";
  if (entry == "lm_head") return std::nullopt;  // always there, and never quantized in an AWQ checkpoint
  if (!entry.starts_with("re:")) return std::string(entry);
  if (entry.size() <= kBefore.size() + kAfter.size() || !entry.starts_with(kBefore) || !entry.ends_with(kAfter))
    return std::nullopt;
  return literal(entry.substr(kBefore.size(), entry.size() - kBefore.size() - kAfter.size()));
}

std::vector<std::string> parse_ignored(const Fields& fields) {
  std::vector<std::string> names;
  const io::Json* list = fields.find("ignore");
  if (!list) return names;
  if (!list->array()) fields.fail(fmt::format("ignore is {}; it must be a list of names", spelled(*list)));
  for (const io::Json& entry : *list->array()) {
    if (!entry.string() || entry.string()->empty())
      fields.fail(fmt::format("ignore holds {}, which is not a name", spelled(entry)));
    if (std::optional<std::string> name = as_substring(*entry.string())) names.push_back(std::move(*name));
  }
  return names;
}

}  // namespace

void parse_compressed_tensors(const Fields& fields, QuantConfig& out) {
  require_words(fields, kTopWords);
  refuse_features(fields, kTopFeatures);
  const io::Json& group = only_group(fields);
  const Fields group_fields(group, fields.what() + ", config_groups");
  require_words(group_fields, kGroupWords);
  refuse_features(group_fields, kGroupFeatures);
  const Fields weights(object_at(group_fields, "weights"), group_fields.what() + ", weights");
  require_words(weights, kWeightWords);
  refuse_features(weights, kWeightFeatures);
  const std::optional<int64_t> bits = weights.integer("num_bits", 1, 16);
  if (!bits) weights.missing("num_bits");
  if (*bits != 4) weights.fail(fmt::format("num_bits is {}; 4-bit weights are supported", *bits));
  out.bits = 4;
  out.group_size = parse_group_size(weights);
  out.zero_point = !weights.boolean("symmetric").value_or(true);
  out.version = out.zero_point ? Layout::kCompressedTensors : Layout::kCompressedTensorsSym;
  out.modules_to_not_convert = parse_ignored(fields);
}

}  // namespace awq::model
