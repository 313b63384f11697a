// quantization_config of compressed-tensors: what other writers put there, and what must be refused by its key.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "awq/error.h"
#include "config_text.h"

namespace awq::model {
namespace {

using nlohmann::json;
using test::parsed;
using test::with;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

json good() {
  return json::parse(R"({
    "quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed",
    "ignore": ["lm_head"], "version": "0.11.0", "sparsity_config": {}, "transform_config": {},
    "config_groups": {"group_0": {"targets": ["Linear"], "format": null, "input_activations": null,
      "weights": {"num_bits": 4, "type": "int", "symmetric": true, "strategy": "group", "group_size": 128,
                  "dynamic": false, "actorder": "static", "observer": "minmax", "observer_kwargs": {}}}}})");
}
json& group(json& config) { return config["config_groups"]["group_0"]; }
json& weights(json& config) { return group(config)["weights"]; }

ModelConfig read(const json& config) { return parsed(with("quantization_config", config.dump())); }
std::string why(const json& config) {
  try {
    read(config);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
    return e.what();
  }
  return "";
}

TEST(CompressedTensorsConfig, FilesOfOlderWritersAreRead) {
  const ModelConfig symmetric = read(good());
  EXPECT_TRUE(symmetric.quantized);
  EXPECT_EQ(symmetric.quant.version, Layout::kCompressedTensorsSym);
  EXPECT_EQ(symmetric.quant.group_size, 128);
  json config = good();
  weights(config)["symmetric"] = false;
  weights(config)["strategy"] = "channel";
  weights(config)["group_size"] = nullptr;
  config["sparsity_config"] = {{"format", "dense"}, {"targets", json::array()}};
  config.erase("quantization_status");
  const ModelConfig channel = read(config);
  EXPECT_EQ(channel.quant.version, Layout::kCompressedTensors);
  EXPECT_EQ(channel.quant.group_size, -1);
  weights(config)["group_size"] = -1;
  weights(config)["strategy"] = "group";
  EXPECT_EQ(read(config).quant.group_size, -1);
}

TEST(CompressedTensorsConfig, PatternsOfSubstringsBecomeSubstrings) {
  json config = good();
  config["ignore"] = {"lm_head",        "model.layers.3.mlp.gate", "re:.*k_proj.*", R"(re:.*layers\.0\..*)",
                      "re:.*mlp.gate$", R"(re:.*layers\.\d+.*)",   "re:vision.*",   "re:.*",
                      R"(re:.*a\.*)"};
  EXPECT_THAT(read(config).quant.modules_to_not_convert, ElementsAre("model.layers.3.mlp.gate", "k_proj", "layers.0."));
}

struct Refused {
  void (*spoil)(json&);
  const char* says;
};
const Refused kRefused[] = {
    {[](json& c) { c["format"] = "float-quantized"; }, "format is 'float-quantized'; pack-quantized is"},
    {[](json& c) { c["quantization_status"] = "frozen"; }, "quantization_status is 'frozen'; compressed is"},
    {[](json& c) {
       c["kv_cache_scheme"] = {{"num_bits", 8}};
     },
     "kv_cache_scheme asks for a quantized key-value cache"},
    {[](json& c) {
       c["sparsity_config"] = {{"format", "sparse-24-bitmask"}};
     },
     "sparsity_config asks for sparse"},
    {[](json& c) {
       c["transform_config"] = {{"config_groups", 1}};
     },
     "transform_config asks for rotated"},
    {[](json& c) { c.erase("config_groups"); }, "config_groups is missing"},
    {[](json& c) { c["config_groups"] = 3; }, "config_groups is 3; it must be an object"},
    {[](json& c) { c["config_groups"] = json::object(); }, "config_groups has 0 groups"},
    {[](json& c) { c["config_groups"]["group_1"] = group(c); }, "config_groups has 2 groups"},
    {[](json& c) { group(c) = "W4A16"; }, "config_groups holds 'W4A16'; it must be an object"},
    {[](json& c) { group(c)["format"] = "int-quantized"; }, "format is 'int-quantized'"},
    {[](json& c) {
       group(c)["input_activations"] = {{"num_bits", 8}};
     },
     "input_activations asks for quantized activations"},
    {[](json& c) {
       group(c)["output_activations"] = {{"num_bits", 8}};
     },
     "output_activations asks for"},
    {[](json& c) { group(c)["weights"] = nullptr; }, "weights is missing"},
    {[](json& c) { weights(c)["type"] = "float"; }, "type is 'float'; int is"},
    {[](json& c) { weights(c)["num_bits"] = 8; }, "num_bits is 8; 4-bit"},
    {[](json& c) { weights(c).erase("num_bits"); }, "num_bits is missing"},
    {[](json& c) { weights(c)["strategy"] = "tensor"; }, "strategy is 'tensor'; group and channel are"},
    {[](json& c) { weights(c).erase("group_size"); }, "group_size is missing"},
    {[](json& c) { weights(c)["group_size"] = 12; }, "group_size is 12; it must be -1 or a multiple of 8"},
    {[](json& c) { weights(c)["dynamic"] = true; }, "dynamic asks for"},
    {[](json& c) { weights(c)["dynamic"] = "local"; }, "dynamic asks for"},
    {[](json& c) { weights(c)["block_structure"] = "128x128"; }, "block_structure asks for"},
    {[](json& c) { weights(c)["symmetric"] = 1; }, "symmetric is 1; it must be true or false"},
    {[](json& c) { c["ignore"] = "lm_head"; }, "ignore is 'lm_head'; it must be a list"},
    {[](json& c) { c["ignore"] = {1}; }, "ignore holds 1, which is not a name"},
};

TEST(CompressedTensorsConfig, WhatChangesTheModelIsRefusedByItsKey) {
  EXPECT_EQ(why(good()), "");
  for (const Refused& row : kRefused) {
    json config = good();
    row.spoil(config);
    EXPECT_THAT(why(config), AllOf(HasSubstr("quantization_config"), HasSubstr(row.says)));
  }
}

}  // namespace
}  // namespace awq::model
