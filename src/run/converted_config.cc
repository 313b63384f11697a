#include "run/converted_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "format/registry.h"
#include "io/json.h"
#include "model/architectures.h"

namespace awq {

// The list of skipped modules is the input's, and those linears left in float that it does not cover: some writers
// leave it empty and let the tensors tell, others have patterns in it that only their loader can match.
QuantConfig converted_quant(const model::ModelConfig& config, Layout to,
                            const std::function<bool(const std::string& module)>& packed) {
  QuantConfig quant = config.quant;
  quant.version = to;
  std::vector<std::string>& skipped = quant.modules_to_not_convert;
  for (int64_t layer = 0; layer < config.layers; ++layer)
    for (const model::LinearShape& linear : model::block_linears(config)) {
      const std::string module = model::block_prefix(layer) + linear.name;
      const bool listed = std::any_of(skipped.begin(), skipped.end(),
                                      [&](const std::string& s) { return module.find(s) != std::string::npos; });
      if (!listed && !packed(module)) skipped.push_back(module);
    }
  return quant;
}

// AWQ's layouts differ in one key, so that all others stay as they are; another method has keys of its own.
std::string converted_config(std::string_view config_text, const QuantConfig& from, const QuantConfig& to) {
  const format::LayoutRow& row = format::layout(to.version);
  const bool same_keys = row.method == "awq" && format::layout(from.version).method == "awq";
  return io::with_member(config_text, "quantization_config",
                         same_keys ? io::with_member(io::member_text(config_text, "quantization_config"), "version",
                                                     fmt::format("\"{}\"", row.name))
                                   : format::quantization_config_json(to));
}

}  // namespace awq
