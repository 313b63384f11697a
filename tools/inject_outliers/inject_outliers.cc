#include "inject_outliers.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>

#include "awq/error.h"
#include "core/half.h"
#include "core/random.h"
#include "io/checkpoint.h"
#include "io/companions.h"
#include "io/output_folder.h"
#include "model/architectures.h"

namespace awq::tools {
namespace {

namespace fs = std::filesystem;

// What happens to one tensor: these of its columns (a vector counts as one row) times `factor`.
struct Scaling {
  const std::vector<int64_t>* columns;
  float factor;
};

struct FloatRow {
  Dtype dtype;
  float (*load)(const std::byte*);
  void (*store)(std::byte*, float);
};

template <class Bits, float (*to_float)(Bits), Bits (*from_float)(float)>
constexpr FloatRow float_row(Dtype dtype) {
  return {dtype,
          [](const std::byte* at) {
            Bits bits;
            std::memcpy(&bits, at, sizeof bits);
            return to_float(bits);
          },
          [](std::byte* at, float value) {
            const Bits bits = from_float(value);
            std::memcpy(at, &bits, sizeof bits);
          }};
}
constexpr float same(float x) { return x; }
constexpr FloatRow kFloats[] = {float_row<bf16_t, bf16_to_f32, f32_to_bf16>(Dtype::kBF16),
                                float_row<f16_t, f16_to_f32, f32_to_f16>(Dtype::kF16),
                                float_row<float, same, same>(Dtype::kF32)};

const FloatRow& float_row_of(const io::TensorInfo& t) {
  for (const FloatRow& row : kFloats)
    if (t.known && row.dtype == t.dtype) return row;
  throw Error(ErrorKind::kBadInput,
              fmt::format("{} has dtype {}: give a checkpoint in BF16, F16 or F32", t.name, t.dtype_text));
}

void scale(const io::TensorInfo& t, const Scaling& scaling, std::span<std::byte> data) {
  const FloatRow& row = float_row_of(t);
  const size_t size = dtype_bytes(t.dtype), columns = static_cast<size_t>(t.shape.back());
  for (size_t first = 0; first < data.size() / size; first += columns)
    for (const int64_t column : *scaling.columns) {
      std::byte* at = data.data() + (first + static_cast<size_t>(column)) * size;
      const float before = row.load(at);
      row.store(at, before * scaling.factor);
      if (row.load(at) / scaling.factor != before)
        throw Error(ErrorKind::kBadInput,
                    fmt::format("{} holds {}, which times {} is not exact in {}: choose a factor nearer to 1", t.name,
                                before, scaling.factor, t.dtype_text));
    }
}

std::vector<int64_t> choose(const std::string& norm, int64_t channels, const InjectOptions& options) {
  std::vector<int64_t> all(channels);
  std::iota(all.begin(), all.end(), 0);
  const auto key = [&](int64_t c) { return std::pair(random_unit(options.seed, norm, static_cast<uint64_t>(c)), c); };
  std::sort(all.begin(), all.end(), [&](int64_t a, int64_t b) { return key(a) < key(b); });
  const auto count = std::llround(options.fraction * static_cast<double>(channels));
  all.resize(std::clamp<int64_t>(count, 1, channels));
  std::sort(all.begin(), all.end());
  return all;
}

using Scalings = std::map<std::string, Scaling, std::less<>>;  // by tensor

// The norms are those of the architecture's scale groups: what AWQ may fold a scale into.
Scalings plan(const model::ModelConfig& config, const InjectOptions& options, Channels& channels) {
  Scalings scalings;
  for (int64_t layer = 0; layer < config.layers; ++layer)
    for (const model::LayerGroup& group : config.arch->groups) {
      if (!group.absorbs.ends_with("norm")) continue;
      const std::string prefix = model::block_prefix(layer), norm = prefix + std::string(group.absorbs);
      const std::vector<int64_t>& chosen = channels[norm] = choose(norm, config.hidden, options);
      scalings[norm + ".weight"] = {&chosen, static_cast<float>(options.factor)};
      for (const std::string_view linear : group.linears)
        if (!linear.empty())
          scalings[prefix + std::string(linear) + ".weight"] = {&chosen, 1.f / static_cast<float>(options.factor)};
    }
  return scalings;
}

void check_shapes(const io::Checkpoint& checkpoint, const Scalings& scalings, int64_t hidden) {
  for (const auto& [name, scaling] : scalings) {
    const io::TensorInfo& t = checkpoint.info(name);
    float_row_of(t);
    if (t.shape.empty() || t.shape.size() > 2 || t.shape.back() != hidden)
      throw Error(ErrorKind::kBadInput,
                  fmt::format("{} does not have {} columns, the hidden size in config.json", name, hidden));
  }
}

void write_weights(const io::Checkpoint& checkpoint, const Scalings& scalings, const fs::path& folder) {
  constexpr uint64_t kMaxShard = 5'000'000'000;  // what Hugging Face's own writer uses
  std::vector<io::TensorSpec> specs;
  for (const std::string& name : checkpoint.names_in_file_order()) {
    const io::TensorInfo& t = checkpoint.info(name);
    specs.push_back({.name = name, .dtype = t.dtype, .shape = t.shape});
  }
  const std::vector<io::Shard> shards = io::plan_shards(specs, kMaxShard);
  std::vector<std::byte> data;
  for (const io::Shard& shard : shards) {
    io::SafetensorsWriter writer(folder / shard.file, shard.tensors);
    for (const io::TensorSpec& spec : shard.tensors) {
      data.resize(spec.bytes());
      checkpoint.read_bytes(spec.name, data);
      if (const auto found = scalings.find(spec.name); found != scalings.end())
        scale(checkpoint.info(spec.name), found->second, data);
      writer.write(data);
    }
    writer.commit();
  }
  if (shards.size() > 1) io::write_file(folder / "model.safetensors.index.json", io::index_json(shards));
}

std::string record(const InjectOptions& options, const Channels& channels) {
  const nlohmann::ordered_json json = {
      {"fraction", options.fraction}, {"factor", options.factor}, {"seed", options.seed}, {"channels", channels}};
  return json.dump(1) + "\n";
}

void check(const InjectOptions& options) {
  if (options.factor < 2 || !std::has_single_bit(static_cast<unsigned>(options.factor)))
    throw Error(ErrorKind::kUsage,
                fmt::format("the factor must be a power of two from 2 on, it is {}", options.factor));
  if (!(options.fraction > 0 && options.fraction <= 1))
    throw Error(ErrorKind::kUsage,
                fmt::format("the fraction must be above 0 and at most 1, it is {}", options.fraction));
}

}  // namespace

Channels inject_outliers(const InjectOptions& options) {
  check(options);
  const io::Checkpoint checkpoint(io::resolve_model(options.model));
  const model::ModelConfig config =
      model::parse_config(checkpoint.config_text(), (checkpoint.folder() / "config.json").string());
  if (config.quantized)
    throw Error(ErrorKind::kBadInput, checkpoint.folder().string() + " is quantized: give the original checkpoint");
  Channels channels;
  const Scalings scalings = plan(config, options, channels);
  check_shapes(checkpoint, scalings, config.hidden);
  io::OutputFolder output(options.out, checkpoint.folder(), options.force);
  write_weights(checkpoint, scalings, output.path());
  io::copy_companions(checkpoint.folder(), output.path());
  io::write_file(output.path() / "config.json", checkpoint.config_text());
  io::write_file(output.path() / "inject_outliers.json", record(options, channels));
  output.commit();
  return channels;
}

}  // namespace awq::tools
