#include "quant/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "awq/error.h"
#include "core/host_memory.h"
#include "format/registry.h"
#include "format/salient.h"
#include "format/serving.h"
#include "io/convert.h"
#include "io/file.h"
#include "model/architectures.h"
#include "quant/block.h"
#include "quant/candidates.h"
#include "quant/padding.h"

namespace awq::quant {
namespace {

constexpr int kGroupSizes[] = {32, 64, 128};

// In a folder that is there, and not one itself; nothing is one too.
bool is_file_name(const std::filesystem::path& file) {
  namespace fs = std::filesystem;
  return file.empty() || (fs::is_directory(fs::absolute(file).parent_path()) && !fs::is_directory(file));
}

void check_options(const QuantizeOptions& o) {
  const auto require = [](bool ok, const std::string& sentence) {
    if (!ok) throw Error(ErrorKind::kUsage, sentence);
  };
  require(o.config.bits == 4, fmt::format("bits = {}: the AWQ layouts hold 4 bits", o.config.bits));
  require(o.config.group_size == -1 || std::count(std::begin(kGroupSizes), std::end(kGroupSizes), o.config.group_size),
          fmt::format("group size {}: choose 32, 64, 128, or -1 for one group a row", o.config.group_size));
  const format::LayoutRow& layout = format::layout(o.config.version);
  require(layout.zero_points || !o.config.zero_point,
          fmt::format("layout {} holds no zero points: add --sym, or choose a layout that does", layout.name));
  require(layout.whole_rows || o.config.group_size != -1,
          fmt::format("layout {} cannot say one group a row: choose a group size", layout.name));
  require(o.samples >= 1 && o.samples <= 1 << 20, fmt::format("samples = {} is not in 1 .. 1048576", o.samples));
  require(o.seqlen >= 8 && o.seqlen <= 1 << 17, fmt::format("seqlen = {} is not in 8 .. 131072", o.seqlen));
  require(o.keep_fp16 == 0 || (o.keep_fp16 >= 0.001 && o.keep_fp16 <= 0.03),
          fmt::format("keep_fp16 = {:g} %: choose 0.1 % to 3 %", o.keep_fp16 * 100));
  require(o.batch >= 0, fmt::format("batch = {}: choose a number of windows, or 0", o.batch));
  require(is_file_name(o.trace), fmt::format("trace '{}' is no file that can be written", o.trace.string()));
  require(o.max_shard_bytes >= 1 << 20,
          fmt::format("a shard of {} bytes is too small, choose at least 1 MiB", o.max_shard_bytes));
}

void check_shape(const io::Checkpoint& checkpoint, const model::TensorNeed& need) {
  const io::TensorInfo& info = checkpoint.info(need.name);
  if (info.shape != need.shape)
    throw Error(ErrorKind::kBadInput, fmt::format("tensor '{}' has shape [{}], config.json implies [{}]", need.name,
                                                  fmt::join(info.shape, ", "), fmt::join(need.shape, ", ")));
  if (!info.known || !io::converts_to_f32(info.dtype))
    throw Error(ErrorKind::kBadInput,
                fmt::format("tensor '{}' has dtype {}, which is not read (F32, F16, BF16, F64 are)", need.name,
                            info.dtype_text));
}

// All widths at once: a user wants the whole list and the remedy, not the first complaint.
void check_groups(const model::ModelConfig& config, const QuantizeOptions& o) {
  if (o.config.group_size == -1) return;
  std::set<std::string> bad;
  std::set<int> fit(std::begin(kGroupSizes), std::end(kGroupSizes));
  for (const model::LinearShape& l : model::block_linears(config)) {
    if (is_kept(o.config, l.name)) continue;
    if (l.k % o.config.group_size) bad.insert(fmt::format("{} ({} inputs)", l.name, l.k));
    std::erase_if(fit, [&](int g) { return l.k % g != 0; });
  }
  if (bad.empty()) return;
  const std::string widen = bad.size() == 1 && bad.begin()->starts_with("mlp.down_proj ")
                                ? "; or widen the MLP with --pad-intermediate auto"
                                : "";
  std::string remedy = fit.empty()
                           ? "no group size of 32, 64, 128 fits all of them: use --group-size -1, or keep them in fp16 "
                             "with --modules-to-not-convert"
                           : fmt::format("group sizes that fit: {}", fmt::join(fit, ", "));
  throw Error(ErrorKind::kBadInput, fmt::format("not divisible by the group size {}: {}; {}", o.config.group_size,
                                                fmt::join(bad, ", "), remedy + widen));
}

// Returns what is worth a warning.
std::vector<std::string> check_serve_tp(const model::ModelConfig& config, const QuantizeOptions& o) {
  const auto packed = [&](const std::string& module) { return !is_kept(o.config, module); };
  std::vector<std::string> why, warnings;
  for (const ServeCheck& check : format::check_serving(config, o.config, packed, o.serve_tp)) {
    if (!check.refusals.empty()) why.push_back(fmt::format("{}: {}", check.gpus, fmt::join(check.refusals, "; ")));
    for (const std::string& slower : check.slower)
      warnings.push_back(fmt::format("on {} GPUs: {}; others are slower", check.gpus, slower));
  }
  if (why.empty()) return warnings;
  throw Error(ErrorKind::kBadInput,
              fmt::format("vLLM and SGLang could not serve this on so many GPUs: {}. Remedy: {}", fmt::join(why, ". "),
                          format::serving_remedy(config, o.config, packed, o.serve_tp)));
}

// Per block and T tokens: forward 2 T N K and attention 4 T L (heads x head_dim), L the window; Gram T K^2 and a
// little; each candidate 2 N K^2; ten clip limits 2 N K g each.
double count_flops(const model::ModelConfig& c, const QuantizeOptions& o) {
  const double tokens = static_cast<double>(o.samples) * o.seqlen;
  double flops = 4 * tokens * o.seqlen * static_cast<double>(c.heads * c.head_dim);
  for (const model::LinearShape& l : model::block_linears(c)) {
    const double n = static_cast<double>(l.n), k = static_cast<double>(l.k);
    flops += 2 * tokens * n * k + 2 * n * k * k * candidate_count(o.search);
    if (o.clip) flops += 20 * n * k * (o.config.group_size == -1 ? k : o.config.group_size);
  }
  for (const model::LayerGroup& g : c.arch->groups)
    for (const model::LinearShape& l : model::block_linears(c))
      if (l.name == g.linears[0]) flops += 1.2 * tokens * static_cast<double>(l.k) * static_cast<double>(l.k);
  return flops * static_cast<double>(c.layers);
}

std::string gigabytes(uint64_t bytes) { return fmt::format("{:.2f} GB", static_cast<double>(bytes) * 1e-9); }

}  // namespace

Plan make_plan(const io::Checkpoint& checkpoint, const model::ModelConfig& source, const QuantizeOptions& o) {
  check_options(o);
  const model::ModelConfig config = padded_config(source, o);
  const format::LayoutRow& layout = format::layout(o.config.version);
  Plan plan;
  plan.warnings = check_serve_tp(config, o);
  check_groups(config, o);
  plan.bytes_in = checkpoint.total_bytes();
  uint64_t packed_bits = 0, packed_weights = 0;
  const auto outer = model::outer_tensors(config);
  const auto add_fp16 = [&](const model::TensorNeed& need) {
    plan.tensors.push_back({need.name, Dtype::kF16, need.shape});
  };
  const auto add_linear = [&](const model::TensorNeed& need) {
    const std::string module = need.name.substr(0, need.name.rfind('.'));
    const int64_t n = need.shape[0], k = need.shape[1];
    const int group = o.config.group_size == -1 ? static_cast<int>(k) : o.config.group_size;
    if (const std::string why = layout.refusal(n, k, group); !why.empty())
      throw Error(ErrorKind::kBadInput, fmt::format("{} does not fit the layout {}: {}", module, layout.name, why));
    for (const format::EncodedTensor& t : format::plan_module(layout, module, n, k, group)) {
      plan.tensors.push_back({module + "." + t.suffix, t.dtype, t.shape});
      packed_bits += plan.tensors.back().bytes() * 8;
    }
    packed_weights += static_cast<uint64_t>(n) * k;
    if (const int64_t count = salient_count(o, k); count > 0)
      std::ranges::copy(format::salient_specs(module, count, n), std::back_inserter(plan.salient));
  };
  for (const model::TensorNeed& need : outer) check_shape(checkpoint, need);
  add_fp16(outer.front());  // embeddings first, head last, as the model runs
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    for (const model::TensorNeed& need : model::block_tensors(source, layer)) check_shape(checkpoint, need);
    for (const model::TensorNeed& need : model::block_tensors(config, layer)) {
      const std::string module = need.name.substr(0, need.name.rfind('.'));
      if (!need.linear)
        add_fp16(need);
      else if (is_kept(o.config, module))
        add_fp16(need), plan.kept_fp16.push_back(module);
      else
        add_linear(need);
    }
  }
  for (size_t i = 1; i < outer.size(); ++i) add_fp16(outer[i]);
  for (const model::TensorNeed& need : outer)
    if (need.shape.size() == 2) plan.kept_fp16.push_back(need.name.substr(0, need.name.rfind('.')));
  if (packed_weights == 0)
    throw Error(ErrorKind::kUsage, "every linear is excluded by modules_to_not_convert: nothing would be quantized");
  for (const io::TensorSpec& t : plan.tensors) plan.bytes_out += t.bytes();
  uint64_t salient_bytes = 0;
  for (const io::TensorSpec& t : plan.salient) salient_bytes += t.bytes();
  plan.bytes_out += salient_bytes;
  plan.bits_per_weight = static_cast<double>(packed_bits + 8 * salient_bytes) / static_cast<double>(packed_weights);
  plan.flops = count_flops(config, o);
  plan.disk_bytes = (o.work_dir.empty() ? 1 : 2) * plan.bytes_out;
  return plan;
}

void check_room(const Plan& plan, const QuantizeOptions& o, const std::filesystem::path& disk_folder) {
  if (const uint64_t have = available_host_memory(); plan.memory_bytes > have)
    throw Error(ErrorKind::kNoRoom,
                fmt::format("needs about {} of host memory, {} are available; lower --samples ({}) or --seqlen ({})",
                            gigabytes(plan.memory_bytes), gigabytes(have), o.samples, o.seqlen));
  if (const uint64_t have = io::free_disk_bytes(disk_folder); plan.disk_bytes > have)
    throw Error(
        ErrorKind::kNoRoom,
        fmt::format("needs {} on the disk of '{}' (output and work folder), {} are free; free some, or choose another "
                    "place for the output and --work-dir",
                    gigabytes(plan.disk_bytes), disk_folder.string(), gigabytes(have)));
}

std::string why_no_device_room(const backend::QuantMemory& memory, const QuantizeOptions& o) {
  if (memory.device <= memory.device_available) return "";
  return fmt::format(
      "needs about {} of GPU memory even one linear and one window at a time, {} {}; lower --samples "
      "({}) or --seqlen ({}), or use --device cpu",
      gigabytes(memory.device), gigabytes(memory.device_available), o.gpu_memory > 0 ? "may be used" : "are free",
      o.samples, o.seqlen);
}

}  // namespace awq::quant
