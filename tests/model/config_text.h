// A small config.json of each architecture, and changes to it.
#pragma once
#include <string>
#include <string_view>

#include "io/json.h"
#include "model/architectures.h"
#include "model/config.h"

namespace awq::test {

inline std::string config_text(std::string_view architecture = "LlamaForCausalLM") {
  return R"({"architectures":[")" + std::string(architecture) +
         R"("],"hidden_size":64,"intermediate_size":128,)"
         R"("num_hidden_layers":3,"vocab_size":100,"num_attention_heads":8,"num_key_value_heads":2,)"
         R"("max_position_embeddings":512,"rms_norm_eps":1e-5,"hidden_act":"silu","torch_dtype":"bfloat16"})";
}

// The llama one with one member set (or removed, with "").
inline std::string with(std::string_view key, std::string_view value,
                        std::string_view architecture = "LlamaForCausalLM") {
  return io::with_member(config_text(architecture), key, value);
}

inline model::ModelConfig parsed(const std::string& text) { return model::parse_config(text, "config.json"); }

}  // namespace awq::test
