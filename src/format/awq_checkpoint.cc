#include "format/awq_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "awq/error.h"
#include "format/registry.h"
#include "io/escape.h"
#include "model/architectures.h"

namespace awq::format {
namespace {

[[noreturn]] void bad(const std::string& what) { throw Error(ErrorKind::kBadInput, what); }

// The tensors of one module, read when asked for and kept until the source goes.
class ModuleTensors {
 public:
  ModuleTensors(const io::Checkpoint& checkpoint, const std::string& module)
      : checkpoint_(checkpoint), module_(module) {}

  // With data where the tensor is one of those planned; others are refused by their description, unread.
  const EncodedTensor* read(std::string_view suffix, std::span<const EncodedTensor> planned) {
    EncodedTensor* t = find(suffix);
    if (t == nullptr || !t->bytes.empty() || !matches(*t, planned)) return t;
    const std::string name = fmt::format("{}.{}", module_, suffix);
    t->bytes.resize(checkpoint_.info(name).bytes());
    checkpoint_.read_bytes(name, t->bytes);
    return t;
  }

  bool all_match(std::span<const EncodedTensor> planned) {
    return std::all_of(planned.begin(), planned.end(), [&](const EncodedTensor& p) {
      const EncodedTensor* t = find(p.suffix);
      return t != nullptr && matches(*t, planned);
    });
  }

 private:
  // dtype and shape, and data once it has been read.
  EncodedTensor* find(std::string_view suffix) {
    const auto kept = tensors_.find(suffix);
    if (kept != tensors_.end()) return &kept->second;
    const std::string name = fmt::format("{}.{}", module_, suffix);
    if (!checkpoint_.has(name)) return nullptr;
    const io::TensorInfo& info = checkpoint_.info(name);
    if (!info.known)
      bad(fmt::format("{} has dtype {}, which no AWQ layout uses", suffix, io::printable(info.dtype_text)));
    EncodedTensor t{.suffix = std::string(suffix), .dtype = info.dtype, .shape = info.shape, .bytes = {}};
    return &tensors_.emplace(suffix, std::move(t)).first->second;
  }

  static bool matches(const EncodedTensor& t, std::span<const EncodedTensor> planned) {
    return std::any_of(planned.begin(), planned.end(), [&](const EncodedTensor& p) { return fits(p, t); });
  }

  const io::Checkpoint& checkpoint_;
  const std::string& module_;
  std::map<std::string, EncodedTensor, std::less<>> tensors_;
};

// Wrong `version` keys exist, because several engines ignore the key; names and shapes tell the layouts apart.
void refuse_other_layout(const LayoutRow& declared, ModuleTensors& tensors, int64_t n, int64_t k, int group) {
  if (declared.refusal(n, k, group).empty() && tensors.all_match(declared.plan(n, k, group))) return;
  for (const LayoutRow& row : layouts())
    if (row.refusal(n, k, group).empty() && tensors.all_match(row.plan(n, k, group)))
      bad(fmt::format("the tensors are in layout {}, but quantization_config says {}: it should hold {}", row.name,
                      declared.name, row.declared_by));
}

// Biases are copied from the original model by some writers, in its dtype.
std::vector<f16_t> read_bias(const io::Checkpoint& checkpoint, const std::string& module, int64_t n) {
  const std::string name = module + ".bias";
  if (!checkpoint.has(name)) return {};
  if (checkpoint.info(name).shape != std::vector<int64_t>{n}) bad(fmt::format("bias must have shape [{}]", n));
  std::vector<f16_t> bias;
  for (const float value : checkpoint.read_f32(name)) bias.push_back(f32_to_f16(value));
  if (!std::ranges::all_of(bias, is_finite_f16)) bad("bias holds NaN, infinity or a value beyond fp16 (65504)");
  return bias;
}

bool all_zero(std::span<const f16_t> scales) {
  return std::all_of(scales.begin(), scales.end(), [](f16_t s) { return (s & 0x7fff) == 0; });
}

// A zero scale here and there means a group of zeros; nothing but zeros means a file whose data never arrived.
void refuse_zero_filled(const QuantizedLinear& w) {
  if (all_zero(w.scales))
    bad("every scale is 0: the file was cut off or zero-filled while it was copied; copy or download it again");
}

QuantizedLinear decode_module(const io::Checkpoint& checkpoint, const QuantConfig& quant, const std::string& module,
                              int64_t n, int64_t k) {
  if (quant.bits != 4) bad(fmt::format("quantization_config says {} bits, 4 are supported", quant.bits));
  const LayoutRow& row = layout(quant.version);
  const int group = resolved_group(quant, k);
  ModuleTensors tensors(checkpoint, module);
  refuse_other_layout(row, tensors, n, k, group);
  const std::string why = row.refusal(n, k, group);
  const std::vector<EncodedTensor> planned =
      why.empty() ? plan_module(row, module, n, k, group) : std::vector<EncodedTensor>{};
  const auto source = [&](std::string_view suffix) {
    return suffix == "bias" ? nullptr : tensors.read(suffix, planned);
  };
  QuantizedLinear w = row.decode(source, n, k, group);
  refuse_zero_filled(w);
  w.bias = read_bias(checkpoint, module, n);
  return w;
}

std::optional<StoredLinear> stored_module(const io::Checkpoint& checkpoint, const QuantConfig& quant,
                                          const std::string& module, int64_t n, int64_t k) {
  const LayoutRow& row = layout(quant.version);
  const int group = resolved_group(quant, k);
  if (quant.bits != 4 || row.stored == nullptr || !row.refusal(n, k, group).empty()) return std::nullopt;
  std::vector<EncodedTensor> planned = row.plan(n, k, group);
  ModuleTensors tensors(checkpoint, module);
  if (!tensors.all_match(planned)) return std::nullopt;
  for (EncodedTensor& t : planned) {
    const std::string name = fmt::format("{}.{}", module, t.suffix);
    t.dtype = checkpoint.info(name).dtype;  // of two that the plan may allow
    t.bytes.resize(checkpoint.info(name).bytes());
    checkpoint.read_bytes(name, t.bytes);
  }
  const auto described = [&](std::string_view suffix) { return tensors.read(suffix, {}); };
  std::optional<StoredLinear> w = row.stored(std::move(planned), described, n, k, group);
  if (!w) return w;
  std::vector<f16_t> scales(w->scales.size() / sizeof(f16_t));
  std::memcpy(scales.data(), w->scales.data(), w->scales.size());
  if (!std::ranges::all_of(scales, is_finite_f16) || all_zero(scales)) return std::nullopt;
  w->bias = read_bias(checkpoint, module, n);
  return w;
}

}  // namespace

bool is_quantized_module(const io::Checkpoint& checkpoint, const std::string& module) {
  return model::is_packed(checkpoint, module);
}

int resolved_group(const QuantConfig& quant, int64_t k) {
  return quant.group_size == -1 ? static_cast<int>(k) : quant.group_size;
}

QuantizedLinear read_linear(const io::Checkpoint& checkpoint, const model::ModelConfig& config,
                            const std::string& module, int64_t n, int64_t k) {
  return with_context([&] { return "reading the quantized linear " + io::printable(module); },
                      [&] { return decode_module(checkpoint, config.quant, module, n, k); });
}

std::optional<StoredLinear> read_stored(const io::Checkpoint& checkpoint, const model::ModelConfig& config,
                                        const std::string& module, int64_t n, int64_t k) {
  return with_context([&] { return "reading the quantized linear " + io::printable(module); },
                      [&] { return stored_module(checkpoint, config.quant, module, n, k); });
}

}  // namespace awq::format
