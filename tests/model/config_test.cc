#include "model/config.h"

#include <gmock/gmock.h>

#include "model/config_text.h"
#include "scratch.h"

namespace awq::model {
namespace {

using test::config_text;
using test::parsed;
using test::refusal;
using test::with;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kLlama = "LlamaForCausalLM";
constexpr const char* kMistral = "MistralForCausalLM";
constexpr const char* kQwen2 = "Qwen2ForCausalLM";
constexpr const char* kQwen3 = "Qwen3ForCausalLM";

std::string why(const std::string& text) {
  return refusal([&] { parsed(text); });
}
std::string why(std::string_view key, std::string_view value) { return why(with(key, value)); }

TEST(ConfigTest, PlainNumbers) {
  const ModelConfig c = parsed(config_text());
  EXPECT_EQ(c.arch->hf_name, kLlama);
  EXPECT_EQ(c.hidden, 64);
  EXPECT_EQ(c.intermediate, 128);
  EXPECT_EQ(c.layers, 3);
  EXPECT_EQ(c.vocab, 100);
  EXPECT_EQ(c.heads, 8);
  EXPECT_EQ(c.kv_heads, 2);
  EXPECT_EQ(c.head_dim, 8);
  EXPECT_EQ(c.max_positions, 512);
  EXPECT_EQ(c.norm_eps, 1e-5);
  EXPECT_EQ(c.source_dtype, "bfloat16");
  EXPECT_EQ(c.rope.theta, 10000);
  EXPECT_FALSE(c.tied_embeddings || c.attention_bias || c.output_bias || c.mlp_bias || c.quantized);
  EXPECT_EQ(c.sliding_window, 0);
  EXPECT_THAT(c.layer_slides, ElementsAre(false, false, false));
}

TEST(ConfigTest, WhatMayBeAbsent) {
  EXPECT_EQ(parsed(with("num_key_value_heads", "")).kv_heads, 8);
  EXPECT_EQ(parsed(with("num_key_value_heads", "null")).kv_heads, 8);
  EXPECT_EQ(parsed(with("head_dim", "32")).head_dim, 32);
  EXPECT_EQ(parsed(with("hidden_size", "64.0")).hidden, 64);
  EXPECT_EQ(parsed(with("dtype", "\"float16\"")).source_dtype, "float16");
  EXPECT_EQ(parsed(io::with_member(with("model_type", "\"mistral\""), "architectures", "")).arch->hf_name, kMistral);
}

TEST(ConfigTest, TokensAreOneOrSeveral) {
  EXPECT_THAT(parsed(with("eos_token_id", "2")).eos, ElementsAre(2));
  EXPECT_THAT(parsed(with("eos_token_id", "[2, 7]")).eos, ElementsAre(2, 7));
  EXPECT_THAT(parsed(with("eos_token_id", "null")).eos, IsEmpty());
  EXPECT_THAT(parsed(with("bos_token_id", "1")).bos, ElementsAre(1));
  for (const char* bad : {"-1", "2147483648", "\"2\"", "[1.5]", "[[1]]"})
    EXPECT_THAT(why("eos_token_id", bad), HasSubstr("eos_token_id holds"));
}

TEST(ConfigTest, Biases) {
  const ModelConfig llama = parsed(io::with_member(with("attention_bias", "true"), "mlp_bias", "true"));
  EXPECT_TRUE(llama.attention_bias && llama.output_bias && llama.mlp_bias);
  const ModelConfig qwen2 = parsed(config_text(kQwen2));
  EXPECT_TRUE(qwen2.attention_bias);
  EXPECT_FALSE(qwen2.output_bias || qwen2.mlp_bias);
  EXPECT_TRUE(parsed(with("attention_bias", "true", kQwen3)).output_bias);
  EXPECT_FALSE(parsed(with("attention_bias", "true", kMistral)).attention_bias);  // transformers has no such key there
}

TEST(ConfigTest, RopeOfBothGenerations) {
  const std::string old_linear = with("rope_scaling", R"({"type":"linear","factor":2.0})");
  EXPECT_EQ(parsed(old_linear).rope.type, RopeType::kLinear);
  EXPECT_EQ(parsed(old_linear).rope.factor, 2);
  const char* llama3 =
      R"({"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":128)";
  for (const std::string& text :
       {io::with_member(with("rope_scaling", std::string(llama3) + "}"), "rope_theta", "500000.0"),
        with("rope_parameters", std::string(llama3) + R"(,"rope_theta":500000.0})")}) {
    const Rope rope = parsed(text).rope;
    EXPECT_EQ(rope.type, RopeType::kLlama3);
    EXPECT_EQ(rope.theta, 500000);
    EXPECT_EQ(rope.factor, 8);
    EXPECT_EQ(rope.low_freq_factor, 1);
    EXPECT_EQ(rope.high_freq_factor, 4);
    EXPECT_EQ(rope.original_max_position, 128);
  }
  EXPECT_EQ(parsed(with("rope_scaling", "null")).rope.type, RopeType::kDefault);
  EXPECT_EQ(parsed(with("rope_parameters", R"({"rope_type":"default","rope_theta":1e6})")).rope.theta, 1e6);
}

// CF6
TEST(ConfigTest, RopeThatIsNotComputedIsRefusedByName) {
  for (const char* type : {"yarn", "dynamic", "longrope", "mrope"})
    EXPECT_THAT(
        why("rope_scaling", R"({"rope_type":")" + std::string(type) + R"(","factor":2})"),
        HasSubstr("config.json, rope_scaling: rope scaling of type '" + std::string(type) + "' is not supported"));
  EXPECT_THAT(why("rope_scaling", "{}"), HasSubstr("rope_type is missing"));
  EXPECT_THAT(why("rope_scaling", R"({"rope_type":"linear"})"), HasSubstr("factor is missing"));
  EXPECT_THAT(why("rope_scaling", R"({"rope_type":"linear","factor":-2})"),
              HasSubstr("factor is -2; it must be a number from 1"));
  EXPECT_THAT(why("rope_parameters", R"({"rope_type":"llama3","factor":8})"), HasSubstr("low_freq_factor is missing"));
  EXPECT_THAT(
      why("rope_parameters",
          R"({"rope_type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":4,"original_max_position_embeddings":9})"),
      HasSubstr("high_freq_factor 4 must be above low_freq_factor 4"));
  EXPECT_THAT(why("rope_scaling", "[]"), HasSubstr("must be an object"));
  EXPECT_THAT(why("rope_theta", "0"), HasSubstr("rope_theta is 0"));
  EXPECT_THAT(why("partial_rotary_factor", "0.5"), HasSubstr("partial_rotary_factor 0.5 is not supported"));
}

TEST(ConfigTest, SlidingWindows) {
  const ModelConfig mistral = parsed(with("sliding_window", "24", kMistral));
  EXPECT_EQ(mistral.sliding_window, 24);
  EXPECT_THAT(mistral.layer_slides, ElementsAre(true, true, true));
  EXPECT_EQ(parsed(with("sliding_window", "null", kMistral)).sliding_window, 0);
  EXPECT_EQ(parsed(config_text(kMistral)).sliding_window, 4096);
  EXPECT_EQ(parsed(with("sliding_window", "24", kLlama)).sliding_window, 0);
  EXPECT_EQ(parsed(with("sliding_window", "24", kQwen2)).sliding_window, 0);

  std::string qwen = io::with_member(with("sliding_window", "24", kQwen2), "use_sliding_window", "true");
  EXPECT_THAT(parsed(qwen).layer_slides, ElementsAre(false, false, false));  // from layer 28 on, transformers' default
  qwen = io::with_member(qwen, "max_window_layers", "1");
  EXPECT_EQ(parsed(qwen).sliding_window, 24);
  EXPECT_THAT(parsed(qwen).layer_slides, ElementsAre(false, true, true));
  qwen = io::with_member(qwen, "layer_types", R"(["sliding_attention","full_attention","sliding_attention"])");
  EXPECT_THAT(parsed(qwen).layer_slides, ElementsAre(true, false, true));
  EXPECT_THAT(why(io::with_member(qwen, "layer_types", R"(["full_attention"])")), HasSubstr("a list of 3 names"));
  EXPECT_THAT(why(io::with_member(qwen, "layer_types", R"([1,2,3])")), HasSubstr("layer_types holds 1"));
}

TEST(ConfigTest, AwqConfigsInBothSpellings) {
  const ModelConfig on_disk =
      parsed(with("quantization_config", R"({"quant_method":"awq","bits":4,"group_size":64,"zero_point":false,
      "version":"GEMV_Fast","modules_to_not_convert":["lm_head","visual"]})"));
  EXPECT_TRUE(on_disk.quantized);
  EXPECT_EQ(on_disk.quant.group_size, 64);
  EXPECT_FALSE(on_disk.quant.zero_point);
  EXPECT_EQ(on_disk.quant.version, Layout::kGemvFast);
  EXPECT_THAT(on_disk.quant.modules_to_not_convert, ElementsAre("lm_head", "visual"));
  const ModelConfig api = parsed(with(
      "quantization_config", R"({"quant_method":"awq","w_bit":4,"q_group_size":-1,"modules_to_not_convert":null})"));
  EXPECT_EQ(api.quant.group_size, -1);
  EXPECT_TRUE(api.quant.zero_point);
  EXPECT_EQ(api.quant.version, Layout::kGemm);
  EXPECT_FALSE(parsed(with("quantization_config", "null")).quantized);
}

// CF5, AQ1
TEST(ConfigTest, OtherQuantizationIsRefusedByName) {
  for (const char* method : {"gptq", "fp8", "bitsandbytes"})
    EXPECT_THAT(
        why("quantization_config", R"({"quant_method":")" + std::string(method) + R"(","bits":4})"),
        AllOf(HasSubstr("is quantized with '" + std::string(method) + "'"), HasSubstr("give the original checkpoint")));
  const auto awq = [](std::string_view key, std::string_view value) {
    return why("quantization_config",
               io::with_member(R"({"quant_method":"awq","bits":4,"group_size":128,"version":"gemm"})", key, value));
  };
  EXPECT_THAT(awq("bits", "8"), HasSubstr("bits is 8; 4-bit"));
  EXPECT_THAT(awq("bits", ""), HasSubstr("bits is missing"));
  EXPECT_THAT(awq("group_size", "33"), HasSubstr("group_size is 33; it must be -1 or a multiple of 8"));
  EXPECT_THAT(awq("group_size", "0"), HasSubstr("group_size is 0"));
  EXPECT_THAT(awq("group_size", "1099511627776"), HasSubstr("whole number from -1"));
  EXPECT_THAT(awq("version", "\"marlin\""),
              HasSubstr("AWQ version 'marlin' is not supported; gemm, gemv and gemv_fast are"));
  EXPECT_THAT(awq("modules_to_not_convert", "\"lm_head\""), HasSubstr("must be a list of names"));
  EXPECT_THAT(awq("modules_to_not_convert", "[\"\"]"), HasSubstr("not a name"));
  EXPECT_THAT(awq("quant_method", ""), HasSubstr("(none named)"));
  EXPECT_THAT(why("quantization_config", "[]"), HasSubstr("must be an object"));
}

// CF1
TEST(ConfigTest, TextThatIsNoConfig) {
  for (const char* text : {"", "{", "[1", "not json"})
    EXPECT_THAT(why(text), HasSubstr("config.json is not valid JSON"));
  for (const char* text : {"[]", "1", "null"}) EXPECT_THAT(why(text), HasSubstr("must be a JSON object"));
  EXPECT_NO_THROW(parsed(with("time_step_limit", "[0.0, Infinity]")));
  EXPECT_THAT(why(R"({"hidden_size":1,"hidden_size":2})"), HasSubstr("'hidden_size' twice"));
}

// CF2: every size, against every bad value
TEST(ConfigTest, SizesOutOfRange) {
  for (const char* key :
       {"hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size", "num_attention_heads"}) {
    for (const char* value : {"0", "-1", "2147483648", "9223372036854775807", "9223372036854775808", "1.5", "1e300",
                              "\"64\"", "true", "[64]", "1000000000"})
      EXPECT_THAT(why(key, value),
                  AllOf(HasSubstr(std::string("config.json: ") + key + " is "), HasSubstr("a whole number from 1 to")))
          << value;
    EXPECT_THAT(why(key, ""), HasSubstr(std::string(key) + " is missing"));
    EXPECT_THAT(why(key, "NaN"), HasSubstr(std::string(key) + " is missing"));
  }
  EXPECT_THAT(why("num_key_value_heads", "16"),
              HasSubstr("num_key_value_heads is 16; it must be a whole number from 1 to 8"));
  EXPECT_THAT(why("num_key_value_heads", "3"),
              HasSubstr("num_attention_heads 8 is not a multiple of num_key_value_heads 3"));
  EXPECT_THAT(why("hidden_size", "65"),
              HasSubstr("hidden_size 65 is not a multiple of num_attention_heads 8 and head_dim is absent"));
  EXPECT_THAT(why("head_dim", "7"), HasSubstr("head_dim 7 is odd"));
  EXPECT_THAT(why("rms_norm_eps", "-1"), HasSubstr("rms_norm_eps is -1"));
  EXPECT_THAT(why("tie_word_embeddings", "1"), HasSubstr("tie_word_embeddings is 1; it must be true or false"));
}

// CF4
TEST(ConfigTest, UnknownArchitecturesListTheKnown) {
  EXPECT_THAT(why("architectures", R"(["FalconForCausalLM"])"),
              AllOf(HasSubstr("'FalconForCausalLM' is not supported"),
                    HasSubstr("LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM")));
  EXPECT_THAT(why(io::with_member(with("architectures", R"(["Mine"])"), "auto_map", R"({"AutoModel":"m.py"})")),
              HasSubstr("Python code, which is never run"));
  EXPECT_NO_THROW(parsed(with("auto_map", R"({"AutoModel":"m.py"})")));
  EXPECT_THAT(why("architectures", ""), HasSubstr("architecture '' is not supported"));
  EXPECT_THAT(why("architectures", "[1]"), HasSubstr("list of names"));
}

// CF6
TEST(ConfigTest, UnknownActivations) {
  EXPECT_THAT(why("hidden_act", "\"gelu\""), HasSubstr("hidden_act 'gelu' is not supported; silu is"));
  EXPECT_NO_THROW(parsed(with("hidden_act", "")));
}

}  // namespace
}  // namespace awq::model
