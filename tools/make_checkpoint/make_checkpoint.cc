#include "make_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "awq/error.h"
#include "io/checkpoint_folder.h"
#include "io/output_folder.h"
#include "io/safetensors.h"
#include "letter_tokenizer.h"
#include "model/architectures.h"
#include "random_tensor.h"
#include "shapes.h"

namespace awq::tools {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBuffer = size_t{1} << 24;   // elements made and written at a time
constexpr uint64_t kOtherFiles = 32'000'000;  // tokenizer.json above all: 5 MB for 150,000 tokens
constexpr uint64_t kSmallestShard = uint64_t{1} << 20;

struct SpreadRow {
  std::string_view ending;  // of the tensor's name; the first that fits counts
  double mean, std;         // 0: 1 / sqrt(inputs)
};
constexpr SpreadRow kSpreads[] = {
    {"norm.weight", 1, 0.05}, {".bias", 0, 1}, {"embed_tokens.weight", 0, 0.02}, {".weight", 0, 0}};

const SpreadRow& spread_of(std::string_view name) {
  return *std::find_if(std::begin(kSpreads), std::end(kSpreads) - 1,
                       [&](const SpreadRow& row) { return name.ends_with(row.ending); });
}

std::vector<model::TensorNeed> all_tensors(const model::ModelConfig& config) {
  const std::vector<model::TensorNeed> outer = model::outer_tensors(config);
  std::vector<model::TensorNeed> needs = {outer.front()};  // embeddings first, norm and head last, as the model runs
  for (int64_t layer = 0; layer < config.layers; ++layer)
    for (model::TensorNeed& need : model::block_tensors(config, layer)) needs.push_back(std::move(need));
  needs.insert(needs.end(), outer.begin() + 1, outer.end());
  return needs;
}

bool feeds_a_group(const model::Architecture& arch, std::string_view tensor) {
  return std::any_of(arch.groups.begin(), arch.groups.end(), [&](const model::LayerGroup& group) {
    return tensor.ends_with(fmt::format(".{}.weight", group.absorbs));
  });
}

std::vector<int64_t> outliers(const io::TensorSpec& t, uint64_t seed) {
  const int64_t channels = t.shape[0];
  const auto count = std::max(std::llround(kOutlierShare * static_cast<double>(channels)), 1LL);
  const std::string source = t.shape.size() == 1 ? "residual stream" : t.name + " rows";
  return choose_channels(random_key(seed, source), channels, count);
}

RandomTensor describe(const io::TensorSpec& t, const model::Architecture& arch, uint64_t seed) {
  const SpreadRow& spread = spread_of(t.name);
  RandomTensor tensor{.key = random_key(seed, t.name), .dtype = t.dtype, .mean = spread.mean, .std = spread.std};
  tensor.rows = t.shape[0];
  tensor.columns = t.shape.size() == 2 ? t.shape[1] : 1;
  if (tensor.std == 0) tensor.std = 1 / std::sqrt(static_cast<double>(tensor.columns));
  tensor.outlier_gain = kOutlierGain;
  if (feeds_a_group(arch, t.name)) tensor.outlier_rows = outliers(t, seed);
  return tensor;
}

class Maker {
 public:
  Maker(const MakeOptions& options, const PublishedShape& shape)
      : options_(options),
        shape_(shape),
        layers_(options.layers == 0 ? shape.layers : options.layers),
        config_text_(config_json(shape, layers_, options.dtype)),
        config_(model::parse_config(config_text_, "config.json")) {
    std::vector<io::TensorSpec> specs;
    for (model::TensorNeed& need : all_tensors(config_))
      specs.push_back({.name = std::move(need.name), .dtype = options.dtype, .shape = std::move(need.shape)});
    for (const io::TensorSpec& spec : specs) bytes_ += spec.bytes();
    shards_ = io::plan_shards(specs, options.max_shard_bytes);
  }

  void check_room() const {
    const fs::path folder = fs::absolute(options_.out / "..").lexically_normal();
    const uint64_t room = io::free_disk_bytes(folder), needed = bytes_ + kOtherFiles;
    if (room >= needed) return;
    throw Error(
        ErrorKind::kNoRoom,
        fmt::format("the checkpoint needs {:.1f} GB, {} has {:.1f} GB free: free some, choose another place, or "
                    "cut the depth with --layers",
                    static_cast<double>(needed) * 1e-9, folder.string(), static_cast<double>(room) * 1e-9));
  }

  void write(const fs::path& folder) {
    for (const io::Shard& shard : shards_) write_shard(folder, shard);
    if (shards_.size() > 1) io::write_file(folder / io::kIndexFile, io::index_json(shards_));
    io::write_file(folder / "config.json", config_text_);
    io::write_file(folder / "tokenizer.json", letter_tokenizer_json(shape_.vocab, shape_.bos, shape_.eos));
    io::write_file(folder / "make_checkpoint.json", record());
  }

  MakeReport report() const {
    return {.layers = layers_,
            .parameters = static_cast<int64_t>(bytes_ / dtype_bytes(options_.dtype)),
            .bytes = bytes_,
            .files = static_cast<int>(shards_.size())};
  }

 private:
  void write_shard(const fs::path& folder, const io::Shard& shard) {
    uint64_t bytes = 0;
    for (const io::TensorSpec& t : shard.tensors) bytes += t.bytes();
    if (options_.on_shard) options_.on_shard(shard.file, bytes);
    io::SafetensorsWriter writer(folder / shard.file, shard.tensors);
    for (const io::TensorSpec& t : shard.tensors) write_tensor(t, writer);
    writer.commit();
  }

  void write_tensor(const io::TensorSpec& t, io::SafetensorsWriter& writer) {
    const RandomTensor tensor = describe(t, *config_.arch, options_.seed);
    const TensorFiller filler(tensor);
    const auto count = static_cast<size_t>(tensor.rows * tensor.columns);
    for (size_t first = 0; first < count; first += kBuffer) {
      const auto part = std::span(buffer_).first(std::min(kBuffer, count - first));
      filler.fill(pool_, static_cast<int64_t>(first), part);
      writer.write(std::as_bytes(part));
    }
  }

  std::string record() const {
    const nlohmann::ordered_json json = {{"weights", "random"},         {"like", shape_.name},
                                         {"layers", layers_},           {"dtype", dtype_name(options_.dtype)},
                                         {"seed", options_.seed},       {"outlier_share", kOutlierShare},
                                         {"outlier_gain", kOutlierGain}};
    return json.dump(1) + "\n";
  }

  const MakeOptions& options_;
  const PublishedShape& shape_;
  int64_t layers_;
  std::string config_text_;
  model::ModelConfig config_;
  std::vector<io::Shard> shards_;
  uint64_t bytes_ = 0;
  ThreadPool pool_{options_.threads};
  std::vector<uint16_t> buffer_ = std::vector<uint16_t>(kBuffer);
};

void check(const MakeOptions& o, const PublishedShape& shape) {
  const auto require = [](bool ok, const std::string& sentence) {
    if (!ok) throw Error(ErrorKind::kUsage, sentence);
  };
  require(o.layers >= 0 && o.layers <= shape.layers,
          fmt::format("layers = {}: {} has {}, choose 1 to {}", o.layers, shape.name, shape.layers, shape.layers));
  require(o.dtype == Dtype::kBF16 || o.dtype == Dtype::kF16,
          fmt::format("dtype {}: weights are written in BF16 or F16", dtype_name(o.dtype)));
  require(o.max_shard_bytes >= kSmallestShard,
          fmt::format("a shard of {} bytes is too small, choose at least 1 MiB", o.max_shard_bytes));
  require(o.threads >= 0, fmt::format("threads = {}: choose 0 for all cores, or a number of them", o.threads));
}

}  // namespace

MakeReport make_checkpoint(const MakeOptions& options) {
  const PublishedShape& shape = published_shape(options.like);
  check(options, shape);
  io::check_output_folder(options.out, {}, options.force);
  Maker maker(options, shape);
  maker.check_room();
  io::OutputFolder output(options.out, {}, options.force);
  maker.write(output.path());
  output.commit();
  return maker.report();
}

}  // namespace awq::tools
