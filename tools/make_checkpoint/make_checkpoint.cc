#include "make_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>
#include <vector>

#include "awq/config.h"
#include "awq/error.h"
#include "core/random.h"
#include "format/registry.h"
#include "io/checkpoint_folder.h"
#include "io/json.h"
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
constexpr int kGroup = 128;              // of --quantized
constexpr int64_t kWordPiece = 1 << 15;  // words of 8 bytes a task makes

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

// The tensors of one that the architecture needs: itself, or what its linear is packed into.
std::vector<io::TensorSpec> stored_as(const model::TensorNeed& need, const MakeOptions& options) {
  if (!options.quantized || !need.linear) return {{.name = need.name, .dtype = options.dtype, .shape = need.shape}};
  const std::string module = need.name.substr(0, need.name.size() - std::string_view(".weight").size());
  std::vector<io::TensorSpec> specs;
  for (format::EncodedTensor& t : format::layout(Layout::kGemm).plan(need.shape[0], need.shape[1], kGroup))
    specs.push_back({.name = module + "." + t.suffix, .dtype = t.dtype, .shape = std::move(t.shape)});
  return specs;
}

std::string checkpoint_config(const PublishedShape& shape, int64_t layers, const MakeOptions& options) {
  const std::string text = config_json(shape, layers, options.dtype);
  if (!options.quantized) return text;
  QuantConfig quant;
  quant.group_size = kGroup;
  return io::with_member(text, "quantization_config", format::quantization_config_json(quant));
}

// Codes are uniform, zero points 7 or 8, so that weights have no mean; 4.6 is the deviation of a uniform code.
RandomTensor describe_scales(const io::TensorSpec& t, uint64_t seed) {
  const double inputs = static_cast<double>(t.shape[0] * kGroup), mean = 1 / (4.6 * std::sqrt(inputs));
  return {.key = random_key(seed, t.name),
          .dtype = t.dtype,
          .mean = mean,
          .std = mean / 8,
          .rows = t.shape[0],
          .columns = t.shape[1]};
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
        config_text_(checkpoint_config(shape, layers_, options)),
        config_(model::parse_config(config_text_, "config.json")) {
    std::vector<io::TensorSpec> specs;
    for (const model::TensorNeed& need : all_tensors(config_)) {
      for (io::TensorSpec& spec : stored_as(need, options)) specs.push_back(std::move(spec));
      parameters_ += std::accumulate(need.shape.begin(), need.shape.end(), int64_t{1}, std::multiplies<>());
    }
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
    return {.layers = layers_, .parameters = parameters_, .bytes = bytes_, .files = static_cast<int>(shards_.size())};
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
    if (t.dtype == Dtype::kI32) return write_words(t, writer);
    const RandomTensor tensor =
        t.name.ends_with(".scales") ? describe_scales(t, options_.seed) : describe(t, *config_.arch, options_.seed);
    const TensorFiller filler(tensor);
    const auto count = static_cast<size_t>(tensor.rows * tensor.columns);
    for (size_t first = 0; first < count; first += kBuffer) {
      const auto part = std::span(buffer_).first(std::min(kBuffer, count - first));
      filler.fill(pool_, static_cast<int64_t>(first), part);
      writer.write(std::as_bytes(part));
    }
  }

  // Eight random codes a word; of zero points the lowest bit alone, above 7.
  void write_words(const io::TensorSpec& t, io::SafetensorsWriter& writer) {
    const uint64_t key = random_key(options_.seed, t.name);
    const bool zeros = t.name.ends_with(".qzeros");
    const uint64_t mask = zeros ? 0x1111111111111111 : ~uint64_t{0}, least = zeros ? 0x7777777777777777 : 0;
    const std::span<uint64_t> words(words_);
    const uint64_t count = (t.bytes() + 7) / 8;
    for (uint64_t first = 0; first < count; first += words.size()) {
      const auto part = static_cast<int64_t>(std::min<uint64_t>(words.size(), count - first));
      pool_.parallel_for(pieces(part, kWordPiece), [&](int64_t i) {
        const Range range = piece(i, kWordPiece, part);
        for (int64_t w = range.begin; w < range.end; ++w)
          words[static_cast<size_t>(w)] = (mix64(key ^ (first + static_cast<uint64_t>(w))) & mask) + least;
      });
      const uint64_t bytes = std::min<uint64_t>(static_cast<uint64_t>(part) * 8, t.bytes() - first * 8);
      writer.write(std::as_bytes(words).first(bytes));
    }
  }

  std::string record() const {
    const nlohmann::ordered_json json = {{"weights", "random"},
                                         {"like", shape_.name},
                                         {"layers", layers_},
                                         {"dtype", dtype_name(options_.dtype)},
                                         {"quantized", options_.quantized},
                                         {"seed", options_.seed},
                                         {"outlier_share", kOutlierShare},
                                         {"outlier_gain", kOutlierGain}};
    return json.dump(1) + "\n";
  }

  const MakeOptions& options_;
  const PublishedShape& shape_;
  int64_t layers_;
  std::string config_text_;
  model::ModelConfig config_;
  std::vector<io::Shard> shards_;
  int64_t parameters_ = 0;
  uint64_t bytes_ = 0;
  ThreadPool pool_{options_.threads};
  std::vector<uint16_t> buffer_ = std::vector<uint16_t>(kBuffer);
  std::vector<uint64_t> words_ = std::vector<uint64_t>(options_.quantized ? kBuffer / 4 : 0);
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
