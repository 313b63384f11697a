#include "shapes.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "awq/error.h"

namespace awq::tools {
namespace {

constexpr std::string_view kLlama = R"({"attention_bias": false, "mlp_bias": false})";
constexpr std::string_view kMistral = R"({"sliding_window": 4096})";
constexpr std::string_view kQwen = R"({"sliding_window": 131072, "use_sliding_window": false})";

// clang-format off
constexpr PublishedShape kShapes[] = {
    // name, model, architecture, model_type
    //  layers hidden heads kv intermediate  vocab positions    theta   eps     bos     eos   extra
    {"llama3-8b", "meta-llama/Meta-Llama-3-8B", "LlamaForCausalLM", "llama",
        32,   4096,  32,  8,  14336,       128256,   8192,  500000, 1e-5, 128000, 128001, kLlama},
    {"llama2-7b", "meta-llama/Llama-2-7b-hf", "LlamaForCausalLM", "llama",
        32,   4096,  32, 32,  11008,        32000,   4096,   10000, 1e-5,      1,      2, kLlama},
    {"qwen2.5-7b", "Qwen/Qwen2.5-7B", "Qwen2ForCausalLM", "qwen2",
        28,   3584,  28,  4,  18944,       152064, 131072, 1000000, 1e-6, 151643, 151643, kQwen},
    {"mistral-7b", "mistralai/Mistral-7B-v0.1", "MistralForCausalLM", "mistral",
        32,   4096,  32,  8,  14336,        32000,  32768,   10000, 1e-5,      1,      2, kMistral},
    {"llama3-70b", "meta-llama/Meta-Llama-3-70B", "LlamaForCausalLM", "llama",
        80,   8192,  64,  8,  28672,       128256,   8192,  500000, 1e-5, 128000, 128001, kLlama},
    {"tiny", "", "LlamaForCausalLM", "llama",
         2,    256,   4,  2,    512,         1024,   2048,   10000, 1e-5,      0,      1, kLlama},
};
// clang-format on

}  // namespace

std::span<const PublishedShape> published_shapes() { return kShapes; }

const PublishedShape& published_shape(std::string_view name) {
  std::string known;
  for (const PublishedShape& row : kShapes) {
    if (row.name == name) return row;
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  throw Error(ErrorKind::kUsage, fmt::format("there is no shape '{}': choose one of {}", name, known));
}

std::string config_json(const PublishedShape& shape, int64_t layers, Dtype dtype) {
  nlohmann::ordered_json json = {{"architectures", nlohmann::json::array({shape.architecture})},
                                 {"model_type", shape.model_type},
                                 {"hidden_act", "silu"},
                                 {"hidden_size", shape.hidden},
                                 {"intermediate_size", shape.intermediate},
                                 {"num_hidden_layers", layers},
                                 {"num_attention_heads", shape.heads},
                                 {"num_key_value_heads", shape.kv_heads},
                                 {"vocab_size", shape.vocab},
                                 {"max_position_embeddings", shape.max_positions},
                                 {"rms_norm_eps", shape.norm_eps},
                                 {"rope_theta", shape.rope_theta},
                                 {"tie_word_embeddings", false},
                                 {"bos_token_id", shape.bos},
                                 {"eos_token_id", shape.eos},
                                 {"torch_dtype", dtype == Dtype::kBF16 ? "bfloat16" : "float16"},
                                 {"use_cache", true}};
  json.update(nlohmann::ordered_json::parse(shape.extra));
  return json.dump(2) + "\n";
}

}  // namespace awq::tools
