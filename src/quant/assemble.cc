#include "quant/assemble.h"

#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "awq/error.h"
#include "core/half.h"
#include "format/registry.h"
#include "format/salient.h"
#include "io/companions.h"
#include "io/json.h"
#include "model/architectures.h"

namespace awq::quant {
namespace {

namespace fs = std::filesystem;
constexpr uint64_t kCopyBytes = uint64_t{8} << 20;

void copy_tensor(const io::SafetensorsFile& from, const std::string& name, io::SafetensorsWriter& to) {
  const io::TensorInfo* info = from.find(name);
  if (!info)
    throw Error(ErrorKind::kFailure,
                fmt::format("'{}' lacks the tensor '{}'; run again with --force", from.path().string(), name));
  std::vector<std::byte> buffer(std::min(kCopyBytes, info->bytes()));
  for (uint64_t at = 0; at < info->bytes(); at += buffer.size()) {
    const auto part = std::span(buffer).first(std::min<uint64_t>(buffer.size(), info->bytes() - at));
    from.read(*info, at, part);
    to.write(part);
  }
}

// Tensors outside the blocks: embeddings, final norm, head; converted to fp16 a slice at a time.
void convert_tensor(const io::Checkpoint& checkpoint, const io::TensorSpec& spec, io::SafetensorsWriter& to) {
  const int64_t rows = spec.shape[0], cols = spec.shape.size() > 1 ? spec.shape[1] : 1;
  const int64_t step = std::max<int64_t>(1, static_cast<int64_t>(kCopyBytes / 4) / cols);
  std::vector<float> values;
  std::vector<f16_t> halves;
  for (int64_t r = 0; r < rows; r += step) {
    const int64_t count = std::min(step, rows - r);
    values.resize(count * cols);
    halves.resize(values.size());
    checkpoint.read_f32(spec.name, r, count, values);
    for (size_t i = 0; i < values.size(); ++i) {
      halves[i] = f32_to_f16(values[i]);
      if (!std::isfinite(f16_to_f32(halves[i])))
        throw Error(ErrorKind::kBadInput,
                    fmt::format("tensor '{}' holds {} in row {}, which fp16 cannot (largest 65504)", spec.name,
                                values[i], r + static_cast<int64_t>(i) / cols));
    }
    to.write(std::as_bytes(std::span(halves)));
  }
}

// Which block a tensor belongs to; -1: none.
int64_t layer_of(const std::string& name, int64_t layers, int64_t hint) {
  for (int64_t layer = hint; layer < layers; ++layer)
    if (name.starts_with(model::block_prefix(layer))) return layer;
  return -1;
}

void write_shards(const io::Checkpoint& checkpoint, const model::ModelConfig& config, const QuantizeOptions& options,
                  const Plan& plan, const WorkFolder& work, const fs::path& folder, const std::function<void()>& poll) {
  const std::vector<io::Shard> shards = io::plan_shards(plan.tensors, options.max_shard_bytes);
  std::unique_ptr<io::SafetensorsFile> block;
  int64_t open_layer = -1;
  for (const io::Shard& shard : shards) {
    io::SafetensorsWriter writer(folder / shard.file, shard.tensors);
    for (const io::TensorSpec& spec : shard.tensors) {
      poll();
      const int64_t layer = layer_of(spec.name, config.layers, std::max<int64_t>(open_layer, 0));
      if (layer >= 0 && layer != open_layer) {
        block = std::make_unique<io::SafetensorsFile>(work.tensors_path(layer));
        open_layer = layer;
      }
      if (layer >= 0)
        copy_tensor(*block, spec.name, writer);
      else
        convert_tensor(checkpoint, spec, writer);
    }
    writer.commit();
  }
  if (shards.size() > 1) io::write_file(folder / "model.safetensors.index.json", io::index_json(shards));
}

void write_salient(const model::ModelConfig& config, const WorkFolder& work, const fs::path& folder) {
  std::vector<io::TensorSpec> specs;
  std::vector<std::unique_ptr<io::SafetensorsFile>> files;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    files.push_back(std::make_unique<io::SafetensorsFile>(work.salient_path(layer)));
    for (const io::TensorInfo& t : files.back()->header().tensors) specs.push_back({t.name, t.dtype, t.shape});
  }
  io::SafetensorsWriter writer(folder / format::kSalientFile, specs);
  for (const auto& file : files)
    for (const io::TensorInfo& t : file->header().tensors) copy_tensor(*file, t.name, writer);
  writer.commit();
}

// config.json as it was, with quantization_config added, the dtype set to what the file now holds, and the intermediate
// size where it was padded.
std::string edited_config(const io::Checkpoint& checkpoint, const model::ModelConfig& written,
                          const QuantConfig& quant) {
  const io::Json config = io::Json::parse(checkpoint.config_text(), "config.json");
  const char* dtype_key = config.find("dtype") ? "dtype" : "torch_dtype";  // transformers 5 writes the first
  std::string text = io::with_member(checkpoint.config_text(), dtype_key, "\"float16\"");
  if (const io::Json* width = config.find("intermediate_size"); width && width->integer() != written.intermediate)
    text = io::with_member(text, "intermediate_size", std::to_string(written.intermediate));
  return io::with_member(text, "quantization_config", format::quantization_config_json(quant));
}

std::string report_json(const QuantizeReport& report, const std::string& settings) {
  using nlohmann::ordered_json;
  ordered_json j = {{"schema_version", 1},
                    {"settings", ordered_json::parse(settings)},
                    {"calibration_tokens", report.tokens},
                    {"data_hash", report.data_hash},
                    {"bits_per_weight", report.bits_per_weight},
                    {"linears", ordered_json::array()}};
  const auto number = [](double x) { return std::isfinite(x) ? ordered_json(x) : ordered_json(nullptr); };
  for (const LinearReport& l : report.linears)
    j["linears"].push_back({{"name", l.name},
                            {"chosen", l.chosen},
                            {"rtn_loss", number(l.rtn_loss)},
                            {"loss", number(l.loss)},
                            {"dead_channels", l.dead_channels},
                            {"warning", l.warning}});
  return j.dump(1) + "\n";
}

}  // namespace

void assemble(const io::Checkpoint& checkpoint, const model::ModelConfig& config, const QuantizeOptions& options,
              const Plan& plan, const WorkFolder& work, const QuantizeReport& report, const std::string& settings,
              const fs::path& folder, const std::function<void()>& poll) {
  write_shards(checkpoint, config, options, plan, work, folder, poll);
  if (options.keep_fp16 > 0) write_salient(config, work, folder);
  io::copy_companions(checkpoint.folder(), folder);
  io::write_file(folder / kReportFile, report_json(report, settings));
  io::write_file(folder / "config.json", edited_config(checkpoint, config, options.config));
}

}  // namespace awq::quant
