#include "model/config.h"

#include <fmt/format.h>

#include "io/escape.h"
#include "model/architectures.h"
#include "model/config_parts.h"

namespace awq::model {
namespace {

// Far above every model there is, and low enough that no product of two of them, times 8 bytes, leaves 64 bits.
struct SizeRow {
  std::string_view key;
  int64_t ModelConfig::*field;
  int64_t high;
};
constexpr SizeRow kSizes[] = {
    {"hidden_size", &ModelConfig::hidden, int64_t{1} << 20},
    {"intermediate_size", &ModelConfig::intermediate, int64_t{1} << 22},
    {"num_hidden_layers", &ModelConfig::layers, 4096},
    {"vocab_size", &ModelConfig::vocab, int64_t{1} << 24},
    {"num_attention_heads", &ModelConfig::heads, 4096},
};
constexpr int64_t kMaxHeadDim = 4096, kMaxPositions = int64_t{1} << 30, kMaxToken = (int64_t{1} << 31) - 1;
constexpr int64_t kDefaultPositions = 2048, kDefaultWindow = 4096, kDefaultWindowLayers = 28;  // transformers' defaults
constexpr double kDefaultTheta = 10000;

const Architecture& parse_architecture(const Fields& fields) {
  const io::Json* list = fields.find("architectures");
  std::string name;
  if (list && list->array() && !list->array()->empty()) {
    const std::string* first = list->array()->front().string();
    if (!first) fields.fail("architectures must be a list of names");
    name = *first;
    if (const Architecture* row = find_architecture(name)) return *row;
  } else {
    name = fields.string("model_type").value_or("");
    if (const Architecture* row = find_model_type(name)) return *row;
  }
  fields.fail(fmt::format("architecture {} is not supported; supported: {}{}", io::printable(name),
                          supported_architectures(),
                          fields.find("auto_map") ? " (its auto_map names Python code, which is never run)" : ""));
}

void parse_heads(const Fields& fields, ModelConfig& c) {
  c.kv_heads = fields.integer("num_key_value_heads", 1, c.heads).value_or(c.heads);
  if (c.heads % c.kv_heads != 0)
    fields.fail(fmt::format("num_attention_heads {} is not a multiple of num_key_value_heads {}", c.heads, c.kv_heads));
  const std::optional<int64_t> head_dim = fields.integer("head_dim", 1, kMaxHeadDim);
  if (!head_dim && c.hidden % c.heads != 0)
    fields.fail(fmt::format("hidden_size {} is not a multiple of num_attention_heads {} and head_dim is absent",
                            c.hidden, c.heads));
  c.head_dim = head_dim.value_or(c.hidden / c.heads);
  if (c.head_dim % 2 != 0)
    fields.fail(fmt::format("head_dim {} is odd; rotary embeddings pair its elements", c.head_dim));
}

void parse_biases(const Fields& fields, ModelConfig& c) {
  const bool honoured = c.arch->bias_keys;
  const bool attention = fields.boolean("attention_bias").value_or(false) && honoured;
  c.attention_bias = c.arch->qkv_bias || attention;
  c.output_bias = attention;
  c.mlp_bias = fields.boolean("mlp_bias").value_or(false) && honoured;
}

int64_t window_size(const Fields& fields, SlidingWindow rule) {
  if (rule == SlidingWindow::kNever) return 0;
  if (!fields.boolean("use_sliding_window").value_or(rule == SlidingWindow::kUnlessNull)) return 0;
  if (fields.has_null("sliding_window")) return 0;
  return fields.integer("sliding_window", 1, kMaxPositions).value_or(kDefaultWindow);
}

bool slides(const Fields& fields, const io::Json& layer_type) {
  const std::string* type = layer_type.string();
  if (type && *type == "sliding_attention") return true;
  if (type && *type == "full_attention") return false;
  fields.fail(
      fmt::format("layer_types holds {}; full_attention and sliding_attention are supported", spelled(layer_type)));
}

void parse_window(const Fields& fields, ModelConfig& c) {
  const auto layers = static_cast<size_t>(c.layers);
  c.sliding_window = window_size(fields, c.arch->sliding_window);
  c.layer_slides.assign(layers, c.sliding_window > 0);
  if (c.sliding_window == 0) return;
  if (const io::Json* types = fields.find("layer_types")) {
    if (!types->array() || types->array()->size() != layers)
      fields.fail(fmt::format("layer_types must be a list of {} names, one a layer", layers));
    for (size_t i = 0; i < layers; ++i) c.layer_slides[i] = slides(fields, (*types->array())[i]);
  } else if (c.arch->sliding_window == SlidingWindow::kWhenAsked) {
    const auto full = fields.integer("max_window_layers", 0, kMaxToken).value_or(kDefaultWindowLayers);
    for (size_t i = 0; i < layers; ++i) c.layer_slides[i] = static_cast<int64_t>(i) >= full;
  }
}

void refuse_other_activations(const Fields& fields) {
  for (const char* key : {"hidden_act", "hidden_activation"}) {
    const std::string act = fields.string(key).value_or("silu");
    if (act != "silu" && act != "swish")  // one function, two names
      fields.fail(fmt::format("{} {} is not supported; silu is", key, io::printable(act)));
  }
}

std::vector<int32_t> parse_tokens(const Fields& fields, std::string_view key) {
  std::vector<int32_t> ids;
  const io::Json* value = fields.find(key);
  if (!value) return ids;
  const auto add = [&](const io::Json& id) {
    const std::optional<int64_t> whole = id.integer();
    if (!whole || *whole < 0 || *whole > kMaxToken)
      fields.fail(fmt::format("{} holds {}; a token id is a whole number from 0 to {}", key, spelled(id), kMaxToken));
    ids.push_back(static_cast<int32_t>(*whole));
  };
  if (!value->array())
    add(*value);
  else
    for (const io::Json& id : *value->array()) add(id);
  return ids;
}

}  // namespace

ModelConfig parse_config(std::string_view config_json, const std::string& what) {
  const io::Json json = io::Json::parse(config_json, what);
  const Fields fields(json, what);
  if (!json.object()) fields.fail("it must be a JSON object");
  ModelConfig c;
  c.arch = &parse_architecture(fields);
  if (const std::optional<QuantConfig> quant = parse_quantization(fields)) c.quantized = true, c.quant = *quant;
  for (const SizeRow& row : kSizes) {
    const std::optional<int64_t> size = fields.integer(row.key, 1, row.high);
    if (!size) fields.missing(row.key);
    c.*row.field = *size;
  }
  c.max_positions = fields.integer("max_position_embeddings", 1, kMaxPositions).value_or(kDefaultPositions);
  c.norm_eps = fields.number("rms_norm_eps", 0, 1).value_or(1e-6);
  parse_heads(fields, c);
  parse_biases(fields, c);
  refuse_other_activations(fields);
  c.rope = parse_rope(fields, kDefaultTheta, c.max_positions);
  parse_window(fields, c);
  c.tied_embeddings = fields.boolean("tie_word_embeddings").value_or(false);
  c.source_dtype = fields.string("dtype").value_or(fields.string("torch_dtype").value_or(""));
  c.bos = parse_tokens(fields, "bos_token_id");
  c.eos = parse_tokens(fields, "eos_token_id");
  return c;
}

}  // namespace awq::model
