#include "format/serving.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>

#include "awq/error.h"
#include "format/registry.h"
#include "model/architectures.h"

namespace awq::format {
namespace {

constexpr int64_t kWord = 8;                  // outputs in a word of gemm's codes and of all zero points
constexpr int64_t kTileN = 64, kTileK = 128;  // of vLLM's Marlin kernels
constexpr int64_t kMaxWidth = int64_t{1} << 22;
constexpr int kMaxGpus = 1024;
constexpr int kSmallerGroups[] = {128, 64, 32};

void require_gpus(std::span<const int> gpus) {
  for (const int count : gpus)
    if (count < 1 || count > kMaxGpus)
      throw Error(ErrorKind::kUsage,
                  fmt::format("serving on {} GPUs: choose numbers of GPUs from 1 to {}", count, kMaxGpus));
}

enum class Cut { kOutputs, kInputs };

// A linear as the engines see it: the parts are stacked along the outputs.
struct FusedRow {
  std::string_view name;
  std::array<std::string_view, 3> parts;  // empty names end the list
  Cut cut;
};
constexpr FusedRow kFused[] = {
    {"self_attn.qkv_proj", {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}, Cut::kOutputs},
    {"self_attn.o_proj", {"self_attn.o_proj"}, Cut::kInputs},
    {"mlp.gate_up_proj", {"mlp.gate_proj", "mlp.up_proj"}, Cut::kOutputs},
    {"mlp.down_proj", {"mlp.down_proj"}, Cut::kInputs},
};

class Checker {
 public:
  Checker(const model::ModelConfig& config, const QuantConfig& quant, const IsPacked& packed, int gpus)
      : config_(config), quant_(quant), packed_(packed), linears_(model::block_linears(config)) {
    check_.gpus = gpus;
  }

  ServeCheck run() && {
    if (const std::string_view caution = layout(quant_.version).caution; !caution.empty()) refuse(std::string(caution));
    check_heads();
    for (int64_t layer = 0; layer < config_.layers; ++layer)
      for (const FusedRow& row : kFused) check_fused(row, model::block_prefix(layer));
    return std::move(check_);
  }

 private:
  // Layers are alike, so that most complaints come once a layer.
  static void add(std::vector<std::string>& list, std::string why) {
    if (std::find(list.begin(), list.end(), why) == list.end()) list.push_back(std::move(why));
  }
  void refuse(std::string why) { add(check_.refusals, std::move(why)); }

  void check_heads() {
    const int64_t gpus = check_.gpus;
    if (config_.heads % gpus != 0) refuse(fmt::format("{} attention heads cannot be shared out", config_.heads));
    if (config_.kv_heads % gpus != 0 && gpus % config_.kv_heads != 0)
      refuse(fmt::format("{} key-value heads can be neither shared out nor repeated", config_.kv_heads));
  }

  void check_fused(const FusedRow& row, const std::string& prefix) {
    std::vector<const model::LinearShape*> parts;
    std::string_view in_float;
    for (const std::string_view name : row.parts) {
      if (name.empty()) break;
      if (packed_(prefix + std::string(name)))
        parts.push_back(&*std::ranges::find(linears_, name, &model::LinearShape::name));
      else
        in_float = name;
    }
    if (parts.empty()) return;
    if (!in_float.empty())
      refuse(fmt::format("{} is in 4 bits and {} is not, and they are fused: quantize both or neither",
                         parts.front()->name, in_float));
    check_shares(row, parts);
  }

  void check_shares(const FusedRow& row, const std::vector<const model::LinearShape*>& parts) {
    const int64_t all_inputs = parts.front()->k;
    if (row.cut == Cut::kInputs) {
      if (const auto inputs = share_of_inputs(*parts.front())) check_tile(row, parts.front()->n, *inputs);
      return;
    }
    int64_t outputs = 0;
    for (const model::LinearShape* part : parts) {
      const std::optional<int64_t> share = share_of_outputs(*part);
      if (!share) return;
      outputs += *share;
    }
    check_tile(row, outputs, all_inputs);
  }

  std::optional<int64_t> share_of_outputs(const model::LinearShape& linear) {
    const bool keys = linear.name == "self_attn.k_proj" || linear.name == "self_attn.v_proj";
    const int64_t parts = keys ? std::min<int64_t>(check_.gpus, config_.kv_heads) : check_.gpus;  // else repeated
    return share(linear.name, "outputs", linear.n, parts, kWord, "words of 8 codes");
  }

  std::optional<int64_t> share_of_inputs(const model::LinearShape& linear) {
    const bool one_group = quant_.group_size == -1;
    if (one_group && check_.gpus > 1 && layout(quant_.version).method == "awq") {
      refuse(fmt::format("{}: one group a row (--group-size -1) cannot be cut", linear.name));
      return std::nullopt;
    }
    return share(linear.name, "inputs", linear.k, check_.gpus, one_group ? kWord : quant_.group_size,
                 one_group ? "words of 8 codes" : fmt::format("groups of {}", quant_.group_size));
  }

  std::optional<int64_t> share(std::string_view linear, std::string_view what, int64_t size, int64_t parts,
                               int64_t step, const std::string& unit) {
    if (size % (parts * step) == 0) return size / parts;
    refuse(fmt::format("{}: {} {} do not make {} equal shares of whole {}", linear, size, what, parts, unit));
    return std::nullopt;
  }

  void check_tile(const FusedRow& row, int64_t n, int64_t k) {
    if (n % kTileN != 0 || k % kTileK != 0)
      add(check_.slower,
          fmt::format("{}: {} outputs and {} inputs on each GPU, Marlin kernels need multiples of {} and {}", row.name,
                      n, k, kTileN, kTileK));
  }

  const model::ModelConfig& config_;
  const QuantConfig& quant_;
  const IsPacked& packed_;
  const std::vector<model::LinearShape> linears_;
  ServeCheck check_;
};

bool all_load(const model::ModelConfig& config, const QuantConfig& quant, const IsPacked& packed,
              std::span<const int> gpus) {
  const auto loads = [&](int count) { return Checker(config, quant, packed, count).run().refusals.empty(); };
  return std::all_of(gpus.begin(), gpus.end(), loads);
}

bool divides_all_inputs(const model::ModelConfig& config, int group) {
  const auto linears = model::block_linears(config);
  return std::all_of(linears.begin(), linears.end(), [&](const auto& linear) { return linear.k % group == 0; });
}

}  // namespace

std::vector<ServeCheck> check_serving(const model::ModelConfig& config, const QuantConfig& quant,
                                      const IsPacked& packed, std::span<const int> gpus) {
  require_gpus(gpus);
  std::vector<ServeCheck> checks;
  for (const int count : gpus) checks.push_back(Checker(config, quant, packed, count).run());
  return checks;
}

int64_t serving_width(int64_t intermediate, int group_size, std::span<const int> gpus) {
  require_gpus(gpus);
  if (group_size < -1 || group_size == 0)
    throw Error(ErrorKind::kUsage, fmt::format("group size {}: it must be -1 or above 0", group_size));
  int64_t step = std::lcm(kTileK, static_cast<int64_t>(group_size == -1 ? kTileK : group_size));
  const int64_t unit = step;
  for (const int count : gpus) {
    step = std::lcm(step, unit * count);
    if (step > kMaxWidth)
      throw Error(ErrorKind::kUsage, fmt::format("no intermediate size up to {} serves on {} GPUs alike", kMaxWidth,
                                                 fmt::join(gpus, ", ")));
  }
  return (intermediate + step - 1) / step * step;
}

std::string serving_remedy(const model::ModelConfig& config, const QuantConfig& quant, const IsPacked& packed,
                           std::span<const int> gpus) {
  if (all_load(config, quant, packed, gpus)) return "";
  std::vector<std::string> remedies, fine;
  for (const int group : kSmallerGroups) {
    QuantConfig finer = quant;
    finer.group_size = group;
    if (group == quant.group_size || !divides_all_inputs(config, group) || !all_load(config, finer, packed, gpus))
      continue;
    remedies.push_back(fmt::format("--group-size {}", group));
    break;  // the largest that does
  }
  model::ModelConfig padded = config;
  padded.intermediate = serving_width(config.intermediate, quant.group_size, gpus);
  if (all_load(padded, quant, packed, gpus))
    remedies.push_back(
        fmt::format("--pad-intermediate auto (intermediate size {} -> {})", config.intermediate, padded.intermediate));
  if (!remedies.empty()) return fmt::format("quantize with {}", fmt::join(remedies, ", or "));
  for (const int count : gpus)
    if (all_load(config, quant, packed, {&count, 1})) fine.push_back(std::to_string(count));
  return fine.empty() ? "no group size and no padding helps"
                      : fmt::format("serve on {} GPUs; no group size and no padding helps for the others",
                                    fmt::join(fine, " or "));
}

}  // namespace awq::format
