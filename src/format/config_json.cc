// quantization_config as each family of loaders wants it, in the order of keys that its own writers use.
#include <nlohmann/json.hpp>

#include "format/layouts.h"

namespace awq::format {
namespace {

using Json = nlohmann::ordered_json;

// "model.layers.3" as a regular expression: loaders match the entries of `ignore` with Python's re.
std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view(".^$*+?{}[]()|\\").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

// Loaders take the producer for the name of the format; the version is that of the export that ours follows.
Json producer() { return {{"name", "modelopt"}, {"version", "0.47.0"}}; }

Json modelopt_excluded(const QuantConfig& config) {  // shell patterns
  Json names = {"lm_head", "model.embed_tokens"};
  for (const std::string& name : config.modules_to_not_convert) names.push_back("*" + name + "*");
  return names;
}

}  // namespace

std::string autoawq_config_json(const QuantConfig& config) {
  Json json;
  json["quant_method"] = "awq";
  json["bits"] = config.bits;
  json["group_size"] = config.group_size;
  // A symmetric quantization is stored with all zero points at 8: with false here, vLLM and others refuse the file.
  json["zero_point"] = true;
  json["version"] = layout(config.version).name;
  json["modules_to_not_convert"] = nullptr;
  if (!config.modules_to_not_convert.empty()) json["modules_to_not_convert"] = config.modules_to_not_convert;
  return json.dump(2);
}

// Unlike AWQ's list, `ignore` must name every linear that is not quantized, lm_head among them. Keys that a loader does
// not know are ignored at the top but refused inside a group, so a group has exactly those of compressed-tensors.
std::string compressed_tensors_config_json(const QuantConfig& config) {
  const bool zero_points = layout(config.version).zero_points, whole_row = config.group_size == -1;
  Json weights = {{"num_bits", config.bits},
                  {"type", "int"},
                  {"symmetric", !zero_points},
                  {"strategy", whole_row ? "channel" : "group"},
                  {"group_size", whole_row ? Json(nullptr) : Json(config.group_size)},
                  {"dynamic", false},
                  {"actorder", nullptr},
                  {"block_structure", nullptr},
                  {"observer", "memoryless_minmax"},
                  {"observer_kwargs", Json::object()},
                  {"scale_dtype", nullptr},
                  {"zp_dtype", zero_points ? Json("torch.int8") : Json(nullptr)}};
  Json ignore = {"lm_head"};
  for (const std::string& name : config.modules_to_not_convert) ignore.push_back("re:.*" + escaped(name) + ".*");
  const Json group = {{"targets", {"Linear"}},
                      {"format", "pack-quantized"},
                      {"input_activations", nullptr},
                      {"output_activations", nullptr},
                      {"weights", weights}};
  return Json({{"quant_method", "compressed-tensors"},
               {"format", "pack-quantized"},
               {"quantization_status", "compressed"},
               {"global_compression_ratio", nullptr},
               {"kv_cache_scheme", nullptr},
               {"ignore", ignore},
               {"config_groups", {{"group_0", group}}}})
      .dump(2);
}

// The copy in config.json. Model Optimizer leaves the group size out of it; without, config.json alone could not be
// read.
std::string modelopt_config_json(const QuantConfig& config) {
  return Json({{"ignore", modelopt_excluded(config)},
               {"quant_algo", "W4A16_AWQ"},
               {"group_size", config.group_size},
               {"producer", producer()},
               {"quant_method", "modelopt"}})
      .dump(2);
}

std::string hf_quant_config_json(const QuantConfig& config) {
  const Json quantization = {{"quant_algo", "W4A16_AWQ"},       {"kv_cache_quant_algo", nullptr},
                             {"group_size", config.group_size}, {"has_zero_point", false},
                             {"pre_quant_scale", true},         {"exclude_modules", modelopt_excluded(config)}};
  return Json({{"producer", producer()}, {"quantization", quantization}}).dump(4) + "\n";
}

}  // namespace awq::format
