#include "awq/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <vector>

#include "awq/error.h"
#include "format/awq_checkpoint.h"
#include "format/registry.h"
#include "format/salient.h"
#include "io/companions.h"
#include "io/escape.h"
#include "io/output_folder.h"
#include "model/architectures.h"
#include "run/converted_config.h"

namespace awq {
namespace {

namespace fs = std::filesystem;

struct Size {
  int64_t n, k;
};
using Modules = std::map<std::string, Size, std::less<>>;  // the packed linears, by full name

// Files of ours beside the weights that stay true when only the layout changes.
constexpr const char* kOwnFiles[] = {format::kSalientFile, "awq_report.json"};

[[noreturn]] void bad(const std::string& what) { throw Error(ErrorKind::kBadInput, what); }

Modules packed_modules(const io::Checkpoint& checkpoint, const model::ModelConfig& config) {
  Modules modules;
  for (int64_t layer = 0; layer < config.layers; ++layer)
    for (const model::LinearShape& linear : model::block_linears(config))
      if (const std::string module = model::block_prefix(layer) + linear.name;
          format::is_quantized_module(checkpoint, module))
        modules[module] = {linear.n, linear.k};
  return modules;
}

void refuse_what_does_not_fit(const Modules& modules, const QuantConfig& quant, const format::LayoutRow& to) {
  if (quant.group_size == -1 && !to.whole_rows)
    bad(fmt::format("{} cannot say that a group is a whole row (group_size -1)", to.name));
  for (const auto& [module, size] : modules)
    if (const std::string why = to.refusal(size.n, size.k, format::resolved_group(quant, size.k)); !why.empty())
      bad(fmt::format("{} cannot be written as {}: {}", io::printable(module), to.name, why));
}

// What one tensor of the output is made of: a tensor of the input, or part `part` of a repacked module.
struct OutputTensor {
  io::TensorSpec spec;
  std::string module;  // empty: copied
  size_t part = 0;
};

class Conversion {
 public:
  Conversion(const io::Checkpoint& checkpoint, const ConvertOptions& options)
      : checkpoint_(checkpoint),
        config_(model::parse_config(checkpoint.config_text(), (checkpoint.folder() / "config.json").string())),
        options_(options),
        from_(format::layout(config_.quant.version)),
        to_(format::layout(options.to)) {
    refuse_input();
    modules_ = packed_modules(checkpoint_, config_);
    refuse_what_does_not_fit(modules_, config_.quant, to_);
    plan();
  }

  void write(const fs::path& folder);
  uint64_t bytes_out() const { return bytes_out_; }
  ConvertReport report() const {
    return {.out = options_.out,
            .from = config_.quant.version,
            .to = options_.to,
            .linears = static_cast<int64_t>(modules_.size()),
            .bytes_in = checkpoint_.total_bytes(),
            .bytes_out = bytes_out_,
            .seconds = 0};
  }

 private:
  void refuse_input() const;
  void plan();
  void plan_module(const std::string& module, const Size&);
  bool is_packed_part(const std::string& module, const Size&, std::string_view suffix) const;
  void write_shards(const fs::path& folder);
  std::span<const std::byte> bytes_of(const OutputTensor&);
  void begin(const OutputTensor&);

  const io::Checkpoint& checkpoint_;
  const model::ModelConfig config_;
  const ConvertOptions& options_;
  const format::LayoutRow &from_, &to_;
  Modules modules_;
  std::vector<OutputTensor> tensors_;
  uint64_t bytes_out_ = 0, bytes_done_ = 0;
  std::string encoded_module_;  // whose tensors are in encoded_
  std::vector<format::EncodedTensor> encoded_;
  std::vector<std::byte> copied_;
};

void Conversion::refuse_input() const {
  const std::string folder = io::printable(checkpoint_.folder().native());
  if (!config_.quantized)
    bad(fmt::format("{} is not quantized: make an AWQ checkpoint of it with awq quantize", folder));
  if (config_.quant.version == options_.to)
    throw Error(ErrorKind::kUsage,
                fmt::format("{} is in layout {} already: there is nothing to convert", folder, to_.name));
}

bool Conversion::is_packed_part(const std::string& module, const Size& size, std::string_view suffix) const {
  const auto parts = format::plan_module(from_, module, size.n, size.k, format::resolved_group(config_.quant, size.k));
  return std::any_of(parts.begin(), parts.end(), [&](const auto& part) { return part.suffix == suffix; });
}

// The order of the input's tensors is kept, so that going back gives the same bytes.
void Conversion::plan() {
  std::map<std::string, bool, std::less<>> planned;
  for (const std::string& name : checkpoint_.names_in_file_order()) {
    const size_t dot = std::min(name.rfind('.'), name.size());
    const std::string module = name.substr(0, dot), suffix = dot < name.size() ? name.substr(dot + 1) : "";
    const auto found = modules_.find(module);
    if (found != modules_.end() && is_packed_part(module, found->second, suffix)) {
      if (!std::exchange(planned[module], true)) plan_module(module, found->second);
    } else if (suffix == from_.codes && model::is_packed(checkpoint_, module)) {
      bad(fmt::format("{} is packed, but it is not a linear of a decoder block, the only ones whose size is known",
                      io::printable(module)));
    } else {
      const io::TensorInfo& info = checkpoint_.info(name);
      if (!info.known)
        bad(fmt::format("tensor {} has dtype {}, which is not known", io::printable(name),
                        io::printable(info.dtype_text)));
      tensors_.push_back({{.name = name, .dtype = info.dtype, .shape = info.shape}, "", 0});
    }
  }
  for (const OutputTensor& t : tensors_) bytes_out_ += t.spec.bytes();
}

void Conversion::plan_module(const std::string& module, const Size& size) {
  size_t part = 0;
  const int group = format::resolved_group(config_.quant, size.k);
  for (const format::EncodedTensor& t : format::plan_module(to_, module, size.n, size.k, group))
    tensors_.push_back({{.name = module + "." + t.suffix, .dtype = t.dtype, .shape = t.shape}, module, part++});
}

std::span<const std::byte> Conversion::bytes_of(const OutputTensor& t) {
  if (t.module.empty()) {
    copied_.resize(t.spec.bytes());
    checkpoint_.read_bytes(t.spec.name, copied_);
    return copied_;
  }
  if (encoded_module_ != t.module) {
    const Size& size = modules_.at(t.module);
    format::QuantizedLinear linear = format::read_linear(checkpoint_, config_, t.module, size.n, size.k);
    linear.bias.clear();  // copied as the tensor it is, in its own dtype
    encoded_ = with_context([&] { return "repacking " + io::printable(t.module); },
                            [&] { return format::encode_module(to_, t.module, linear); });
    encoded_module_ = t.module;
  }
  return encoded_[t.part].bytes;
}

void Conversion::begin(const OutputTensor& t) {
  if (options_.stop && options_.stop->load() != 0)
    throw Error(ErrorKind::kInterrupted, "stopped before the conversion was complete; nothing was written");
  if (options_.progress)
    options_.progress({.tensor = t.spec.name, .bytes_done = bytes_done_, .bytes_total = bytes_out_});
  bytes_done_ += t.spec.bytes();
}

void Conversion::write_shards(const fs::path& folder) {
  std::vector<io::TensorSpec> specs;
  for (const OutputTensor& t : tensors_) specs.push_back(t.spec);
  const std::vector<io::Shard> shards = io::plan_shards(specs, options_.max_shard_bytes);
  auto tensor = tensors_.begin();  // shards hold them in this order
  for (const io::Shard& shard : shards) {
    io::SafetensorsWriter writer(folder / shard.file, shard.tensors);
    for (size_t i = 0; i < shard.tensors.size(); ++i, ++tensor) {
      begin(*tensor);
      writer.write(bytes_of(*tensor));
    }
    writer.commit();
  }
  if (shards.size() > 1) io::write_file(folder / "model.safetensors.index.json", io::index_json(shards));
}

void Conversion::write(const fs::path& folder) {
  write_shards(folder);
  io::copy_companions(checkpoint_.folder(), folder);
  for (const char* name : kOwnFiles)
    if (fs::exists(checkpoint_.folder() / name)) io::copy_file(checkpoint_.folder() / name, folder / name);
  const QuantConfig quant =
      converted_quant(config_, options_.to, [&](const std::string& module) { return modules_.contains(module); });
  if (!to_.side_file.empty()) io::write_file(folder / to_.side_file, to_.side_file_text(quant));
  io::write_file(folder / "config.json", converted_config(checkpoint_.config_text(), config_.quant, quant));
}

void check_room(const fs::path& folder, uint64_t bytes) {
  if (const uint64_t room = io::free_disk_bytes(folder); room < bytes)
    throw Error(ErrorKind::kNoRoom,
                fmt::format("{} has {:.1f} GB free, the checkpoint needs {:.1f} GB", folder.string(),
                            static_cast<double>(room) / 1e9, static_cast<double>(bytes) / 1e9));
}

}  // namespace

ConvertReport convert(const ConvertOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const io::Checkpoint checkpoint(io::resolve_model(options.model));
  io::check_output_folder(options.out, checkpoint.folder(), options.force);
  Conversion conversion(checkpoint, options);
  io::OutputFolder output(options.out, checkpoint.folder(), options.force);
  check_room(output.path(), conversion.bytes_out());
  conversion.write(output.path());
  output.commit();
  ConvertReport report = conversion.report();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace awq
