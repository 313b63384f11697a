// Architectures as rows. A new one whose forward fits is a row in architectures.cc; the tests walk the rows.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace awq::io {
class Checkpoint;
}

namespace awq::model {

// Linears that read the same input and so share one scale vector.
struct LayerGroup {
  std::string_view absorbs;                 // divided by the scale: a norm, or the linear just before
  std::array<std::string_view, 3> linears;  // multiplied by it; empty names end the list
  std::string_view scored_on;               // module whose output error ranks a candidate under Objective::kModule
  bool only_if_square = false;  // v_proj -> o_proj: the shapes must agree; under grouped-query attention they do not
  bool clip_first_two = true;   // q and k are not clipped (false)
};

enum class SlidingWindow {
  kNever,
  kUnlessNull,  // mistral: config.json "sliding_window", 4096 when the key is absent, none when it is null
  kWhenAsked,   // qwen: only with "use_sliding_window", from layer "max_window_layers" on or as "layer_types" says
};

struct Architecture {
  std::string_view hf_name;     // config.json "architectures"[0]
  std::string_view model_type;  // config.json "model_type"
  std::span<const LayerGroup> groups;
  bool qkv_bias = false;   // fixed by the architecture
  bool bias_keys = false;  // honours config.json "attention_bias" (q, k, v, o) and "mlp_bias"
  bool qk_norm = false;    // RMS norm over each head of q and k
  SlidingWindow sliding_window = SlidingWindow::kNever;
};

std::span<const Architecture> architectures();
const Architecture* find_architecture(std::string_view hf_name);
const Architecture* find_model_type(std::string_view model_type);  // for a config.json without "architectures"
std::string supported_architectures();                             // "LlamaForCausalLM, ..." for messages

// One tensor the architecture needs, with the shape that config.json implies.
struct TensorNeed {
  std::string name;  // "model.layers.3.self_attn.q_proj.weight"
  std::vector<int64_t> shape;
  bool linear = false;  // a weight that gets quantized
};
std::string block_prefix(int64_t layer);  // "model.layers.3."
std::vector<TensorNeed> block_tensors(const ModelConfig&, int64_t layer);
std::vector<TensorNeed> outer_tensors(const ModelConfig&);  // embeddings, final norm, lm_head unless tied

struct LinearShape {
  std::string name;
  int64_t n, k;
  bool bias;
};  // name within the block: "self_attn.q_proj"
std::vector<LinearShape> block_linears(const ModelConfig&);

// Whether `module` ("model.layers.0.mlp.up_proj") is stored in 4 bits, whatever the layout: by the tensors that only
// packed linears have.
bool is_packed(const io::Checkpoint&, const std::string& module);

// Error(kBadInput) when a tensor that config.json implies is missing (all of them are listed) or has another shape
// (both are named). A linear that is packed is left to the format that reads it.
void check_tensors(const io::Checkpoint&, const ModelConfig&);

}  // namespace awq::model
