#include "awq/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <climits>
#include <map>

#include "awq/error.h"
#include "core/checked.h"
#include "format/registry.h"
#include "format/salient.h"
#include "format/serving.h"
#include "io/checkpoint.h"
#include "io/escape.h"
#include "io/json.h"
#include "model/architectures.h"
#include "model/config_parts.h"

namespace awq {
namespace {

using io::Json;
using Tensors = std::map<std::string, const io::TensorInfo*>;  // by what follows the module's name: "qweight", "bias"

// "model.layers.10" after "model.layers.9": runs of digits compare as numbers.
bool natural_less(const std::string& a, const std::string& b) {
  const auto digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
  size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (!digit(a[i]) || !digit(b[j])) {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i, ++j;
      continue;
    }
    size_t end_a = i, end_b = j;
    while (end_a < a.size() && digit(a[end_a])) ++end_a;
    while (end_b < b.size() && digit(b[end_b])) ++end_b;
    const std::string_view x(a.data() + i, end_a - i), y(b.data() + j, end_b - j);
    if (x != y) return x.size() != y.size() ? x.size() < y.size() : x < y;
    i = end_a, j = end_b;
  }
  return a.size() - i < b.size() - j;
}

struct NaturalOrder {
  bool operator()(const std::string& a, const std::string& b) const { return natural_less(a, b); }
};
using Modules = std::map<std::string, Tensors, NaturalOrder>;

Modules group_by_module(const io::Checkpoint& checkpoint) {
  Modules modules;
  for (const std::string& name : checkpoint.names()) {
    const size_t dot = name.rfind('.');
    const bool has_parent = dot != std::string::npos;
    modules[has_parent ? name.substr(0, dot) : name][has_parent ? name.substr(dot + 1) : "weight"] =
        &checkpoint.info(name);
  }
  return modules;
}

uint64_t product(const std::vector<int64_t>& shape) {
  uint64_t total = 1;
  for (const int64_t side : shape) total = checked_mul(total, static_cast<uint64_t>(side), "the number of weights");
  return total;
}

const Json* either(const Json& json, const char* name, const char* older_name) {
  const Json* value = json.find(name);
  return value != nullptr ? value : json.find(older_name);
}

int whole(const Json& json, const char* name, const char* older_name, int otherwise) {
  const Json* value = either(json, name, older_name);
  const int64_t number = value == nullptr ? otherwise : value->integer().value_or(otherwise);
  return static_cast<int>(std::clamp<int64_t>(number, -1, INT_MAX));
}

std::string lower_word(const Json& json, const char* name, const char* otherwise) {
  const Json* value = json.find(name);
  std::string text = value != nullptr && value->string() != nullptr ? *value->string() : otherwise;
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// Other methods have one spelling each, so they are read as strictly as for running; what is not read is a warning.
void read_other_method(const Json& config, CheckpointInfo& info) {
  try {
    const QuantConfig quant = model::parse_quantization(model::Fields(config, info.folder + "/config.json")).value();
    info.layout = format::layout(quant.version).name;
    info.bits = quant.bits;
    info.group_size = quant.group_size;
  } catch (const Error& e) {
    info.warnings.emplace_back(e.what());
  }
}

void read_config(const io::Checkpoint& checkpoint, CheckpointInfo& info) {
  const Json config = Json::parse(checkpoint.config_text(), info.folder + "/config.json");
  const Json* architectures = config.find("architectures");
  if (architectures != nullptr && architectures->array() != nullptr && !architectures->array()->empty()) {
    const std::string* first = architectures->array()->front().string();
    info.architecture = first != nullptr ? *first : "";
  }
  const Json* quantization = config.find("quantization_config");
  if (quantization == nullptr) return;
  if (lower_word(*quantization, "quant_method", "awq") != "awq") return read_other_method(config, info);
  info.layout = lower_word(*quantization, "version", "gemm");
  info.bits = whole(*quantization, "bits", "w_bit", 4);
  info.group_size = whole(*quantization, "group_size", "q_group_size", 128);
}

void check_shapes(const format::LayoutRow& row, const ModuleInfo& module, const Tensors& tensors,
                  CheckpointInfo& info) {
  for (const format::EncodedTensor& expected : row.plan(module.shape[0], module.shape[1], module.group_size)) {
    const auto found = tensors.find(expected.suffix);
    if (found == tensors.end()) {
      info.warnings.push_back(fmt::format("{} has no {}", module.name, expected.suffix));
    } else if (found->second->shape != expected.shape) {
      info.warnings.push_back(fmt::format("{}.{} is [{}] where the layout {} needs [{}]", module.name, expected.suffix,
                                          fmt::join(found->second->shape, ", "), row.name,
                                          fmt::join(expected.shape, ", ")));
    }
  }
}

// The tensor that holds the codes, whichever layout config.json announces; nullptr for a module that is not packed.
const io::TensorInfo* codes_of(const Tensors& tensors) {
  constexpr int kAnySize = 128;
  for (const format::LayoutRow& row : format::layouts()) {
    const auto found = tensors.find(std::string(row.codes));
    if (found != tensors.end() && found->second->known &&
        found->second->dtype == row.plan(kAnySize, kAnySize, kAnySize)[0].dtype)
      return found->second;
  }
  return nullptr;
}

void describe_quantized(const Tensors& tensors, const io::TensorInfo& codes, CheckpointInfo& info, ModuleInfo& module) {
  const format::LayoutRow* row = format::find_layout(info.layout);
  const std::vector<int64_t>& shape = codes.shape;
  const std::string suffix = codes.name.substr(codes.name.rfind('.') + 1);
  if (row == nullptr || suffix != row->codes || shape.size() != 2) {
    throw Error(ErrorKind::kBadInput,
                fmt::format("{}: cannot read layout '{}' with {} of {} dimensions; known: {}", module.name, info.layout,
                            suffix, shape.size(), format::layout_names()));
  }
  module.quantized = true;
  module.format = row->name;
  module.bits = info.bits;
  const format::LinearSize size = row->size(shape[0], shape[1]);
  module.shape = {size.n, size.k};
  module.group_size = info.group_size > 0 ? info.group_size : static_cast<int>(module.shape[1]);
  if (module.group_size == 0 || module.shape[1] % module.group_size != 0) {
    info.warnings.push_back(fmt::format("{}: group {} does not divide its {} input features", module.name,
                                        module.group_size, module.shape[1]));
  } else {
    check_shapes(*row, module, tensors, info);
  }
}

// Packed by a method that is not read: shown as the tensors that there are, and said once.
void note_unread(bool packed, CheckpointInfo& info) {
  static constexpr const char* kWarning =
      "modules are packed in a way that config.json does not tell or that is not read: their tensors are listed as "
      "they are";
  if (packed && std::ranges::find(info.warnings, kWarning) == info.warnings.end()) info.warnings.emplace_back(kWarning);
}

ModuleInfo describe(const std::string& name, const Tensors& tensors, CheckpointInfo& info) {
  ModuleInfo module{.name = name, .format = {}, .shape = {}};
  for (const auto& [suffix, tensor] : tensors) module.bytes += tensor->bytes();
  const io::TensorInfo* codes = codes_of(tensors);
  if (codes != nullptr && !info.layout.empty()) {
    describe_quantized(tensors, *codes, info, module);
  } else {
    note_unread(codes != nullptr, info);
    const io::TensorInfo& main = tensors.contains("weight") ? *tensors.at("weight") : *tensors.begin()->second;
    module.format = main.dtype_text;
    module.shape = main.shape;
  }
  module.weights = product(module.shape);
  return module;
}

// Adds the side file of --keep-fp16, where there is one.
void add_salient(CheckpointInfo& info) {
  const std::filesystem::path path = std::filesystem::path(info.folder) / format::kSalientFile;
  if (!std::filesystem::exists(path)) return;
  const io::SafetensorsFile file(path);
  for (ModuleInfo& module : info.modules) {
    const io::TensorInfo* index = file.find(module.name + ".salient_index");
    const io::TensorInfo* delta = file.find(module.name + ".salient_delta");
    if (index == nullptr || delta == nullptr || index->shape.size() != 1) continue;
    module.fp16_channels = index->shape[0];
    module.bytes += index->bytes() + delta->bytes();
  }
}

double bits_per_weight(uint64_t bytes, uint64_t weights) {
  return weights == 0 ? 0 : 8.0 * static_cast<double>(bytes) / static_cast<double>(weights);
}

void add_up(CheckpointInfo& info) {
  uint64_t quantized_bytes = 0, quantized_weights = 0;
  for (const ModuleInfo& module : info.modules) {
    info.bytes += module.bytes;
    info.weights += module.weights;
    if (!module.quantized) continue;
    quantized_bytes += module.bytes;
    quantized_weights += module.weights;
  }
  info.bits_per_weight = bits_per_weight(info.bytes, info.weights);
  info.quantized_bits_per_weight = bits_per_weight(quantized_bytes, quantized_weights);
  if (!info.layout.empty() && quantized_weights == 0) {
    info.warnings.emplace_back("config.json announces AWQ, but no module is quantized");
  }
}

void check_serving(const io::Checkpoint& checkpoint, std::span<const int> gpus, CheckpointInfo& info) {
  if (gpus.empty()) return;
  const model::ModelConfig config = model::parse_config(checkpoint.config_text(), info.folder + "/config.json");
  if (!config.quantized)
    throw Error(ErrorKind::kBadInput,
                fmt::format("{} is not quantized: ask awq quantize, with --serve-tp and --dry-run",
                            io::printable(info.folder)));
  const auto packed = [&](const std::string& module) { return model::is_packed(checkpoint, module); };
  info.serving = format::check_serving(config, config.quant, packed, gpus);
  info.serving_remedy = format::serving_remedy(config, config.quant, packed, gpus);
}

}  // namespace

CheckpointInfo inspect(const std::string& model, std::span<const int> serve_tp) {
  const io::Checkpoint checkpoint(io::resolve_model(model));
  CheckpointInfo info;
  info.folder = checkpoint.folder().string();
  info.warnings = checkpoint.warnings();
  read_config(checkpoint, info);
  for (const auto& [name, tensors] : group_by_module(checkpoint)) info.modules.push_back(describe(name, tensors, info));
  add_salient(info);
  add_up(info);
  check_serving(checkpoint, serve_tp, info);
  return info;
}

}  // namespace awq
