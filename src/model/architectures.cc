#include "model/architectures.h"

#include <fmt/format.h>

namespace awq::model {
namespace {

constexpr LayerGroup kLlamaGroups[] = {
    // absorbs, linears that read its output, scored_on, only_if_square, clip_first_two
    {"input_layernorm", {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}, "self_attn", false, false},
    {"self_attn.v_proj", {"self_attn.o_proj"}, "self_attn.o_proj", true},
    {"post_attention_layernorm", {"mlp.gate_proj", "mlp.up_proj"}, "mlp"},
    {"mlp.up_proj", {"mlp.down_proj"}, "mlp.down_proj"},
};

constexpr Architecture kArchitectures[] = {
    // hf_name, model_type, groups, qkv_bias, bias_keys, qk_norm, sliding_window
    {"LlamaForCausalLM", "llama", kLlamaGroups, false, true, false, SlidingWindow::kNever},
    {"MistralForCausalLM", "mistral", kLlamaGroups, false, false, false, SlidingWindow::kUnlessNull},
    {"Qwen2ForCausalLM", "qwen2", kLlamaGroups, true, false, false, SlidingWindow::kWhenAsked},
    {"Qwen3ForCausalLM", "qwen3", kLlamaGroups, false, true, true, SlidingWindow::kWhenAsked},
};

const Architecture* find(std::string_view Architecture::*column, std::string_view value) {
  for (const Architecture& row : kArchitectures)
    if (row.*column == value) return &row;
  return nullptr;
}

}  // namespace

std::span<const Architecture> architectures() { return kArchitectures; }
const Architecture* find_architecture(std::string_view hf_name) { return find(&Architecture::hf_name, hf_name); }
const Architecture* find_model_type(std::string_view type) { return find(&Architecture::model_type, type); }

std::string supported_architectures() {
  std::string list;
  for (const Architecture& row : kArchitectures) list += (list.empty() ? "" : ", ") + std::string(row.hf_name);
  return list;
}

std::string block_prefix(int64_t layer) { return fmt::format("model.layers.{}.", layer); }

std::vector<LinearShape> block_linears(const ModelConfig& c) {
  const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  return {
      {"self_attn.q_proj", q, c.hidden, c.attention_bias},     {"self_attn.k_proj", kv, c.hidden, c.attention_bias},
      {"self_attn.v_proj", kv, c.hidden, c.attention_bias},    {"self_attn.o_proj", c.hidden, q, c.output_bias},
      {"mlp.gate_proj", c.intermediate, c.hidden, c.mlp_bias}, {"mlp.up_proj", c.intermediate, c.hidden, c.mlp_bias},
      {"mlp.down_proj", c.hidden, c.intermediate, c.mlp_bias}};
}

std::vector<TensorNeed> block_tensors(const ModelConfig& c, int64_t layer) {
  const std::string prefix = block_prefix(layer);
  std::vector<TensorNeed> needs;
  for (const LinearShape& l : block_linears(c)) {
    needs.push_back({prefix + l.name + ".weight", {l.n, l.k}, true});
    if (l.bias) needs.push_back({prefix + l.name + ".bias", {l.n}});
  }
  if (c.arch->qk_norm)
    for (const char* name : {"self_attn.q_norm.weight", "self_attn.k_norm.weight"})
      needs.push_back({prefix + name, {c.head_dim}});
  for (const char* name : {"input_layernorm.weight", "post_attention_layernorm.weight"})
    needs.push_back({prefix + name, {c.hidden}});
  return needs;
}

std::vector<TensorNeed> outer_tensors(const ModelConfig& c) {
  std::vector<TensorNeed> needs = {{"model.embed_tokens.weight", {c.vocab, c.hidden}},
                                   {"model.norm.weight", {c.hidden}}};
  if (!c.tied_embeddings) needs.push_back({"lm_head.weight", {c.vocab, c.hidden}});
  return needs;
}

}  // namespace awq::model
