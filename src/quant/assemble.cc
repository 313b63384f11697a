#include "quant/assemble.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
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
constexpr uint64_t kSliceBytes = uint64_t{8} << 20;

// A slice at a time.
void convert_tensor(const io::Checkpoint& checkpoint, const model::TensorNeed& tensor, ShardFiles& to,
                    const std::function<void()>& poll) {
  const int64_t rows = tensor.shape[0], cols = tensor.shape.size() > 1 ? tensor.shape[1] : 1;
  const int64_t step = std::max<int64_t>(1, static_cast<int64_t>(kSliceBytes / 4) / cols);
  std::vector<float> values;
  std::vector<f16_t> halves;
  for (int64_t r = 0; r < rows; r += step) {
    poll();
    const int64_t count = std::min(step, rows - r);
    values.resize(count * cols);
    halves.resize(values.size());
    checkpoint.read_f32(tensor.name, r, count, values);
    for (size_t i = 0; i < values.size(); ++i) halves[i] = f32_to_f16(values[i]);
    if (const auto bad = std::ranges::find_if_not(halves, is_finite_f16); bad != halves.end())
      throw Error(ErrorKind::kBadInput,
                  fmt::format("tensor '{}' holds {} in row {}, which fp16 cannot (largest 65504)", tensor.name,
                              values[bad - halves.begin()], r + (bad - halves.begin()) / cols));
    to.write(tensor.name, static_cast<uint64_t>(r * cols) * sizeof(f16_t), std::as_bytes(std::span(halves)));
  }
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

std::vector<io::Shard> planned_shards(const Plan& plan, const QuantizeOptions& options) {
  std::vector<io::Shard> shards = io::plan_shards(plan.tensors, options.max_shard_bytes);
  if (!plan.salient.empty()) shards.push_back({format::kSalientFile, plan.salient});
  return shards;
}

void write_outer(const io::Checkpoint& checkpoint, const model::ModelConfig& config, ShardFiles& shards,
                 const std::function<void()>& poll) {
  for (const model::TensorNeed& tensor : model::outer_tensors(config)) convert_tensor(checkpoint, tensor, shards, poll);
}

void assemble(const io::Checkpoint& checkpoint, const model::ModelConfig& config, const QuantizeOptions& options,
              const ShardFiles& files, const QuantizeReport& report, const std::string& settings,
              const fs::path& folder) {
  files.place_into(folder);
  std::vector<io::Shard> shards = files.shards();
  std::erase_if(shards, [](const io::Shard& s) { return s.file == format::kSalientFile; });  // no index names it
  if (shards.size() > 1) io::write_file(folder / "model.safetensors.index.json", io::index_json(shards));
  io::copy_companions(checkpoint.folder(), folder);
  io::write_file(folder / kReportFile, report_json(report, settings));
  if (const format::LayoutRow& layout = format::layout(options.config.version); !layout.side_file.empty())
    io::write_file(folder / layout.side_file, layout.side_file_text(options.config));
  io::write_file(folder / "config.json", edited_config(checkpoint, config, options.config));
}

}  // namespace awq::quant
