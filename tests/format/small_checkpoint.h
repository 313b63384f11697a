// A complete AWQ checkpoint of a few kilobytes, random but fixed by its seed, written with the library's own writer.
#pragma once
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>

#include "awq/config.h"
#include "format/layouts.h"
#include "format/packing.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "linear_cases.h"
#include "model/architectures.h"

namespace awq::format {

class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "awq-format-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string get_file(const std::filesystem::path& p) {
  std::ifstream in(p, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Qwen2, because its q, k and v have a bias; a group of 64 and k = 192 leave padding in gemv and gemv_fast.
inline constexpr const char* kSmallConfig = R"({
  "architectures": ["Qwen2ForCausalLM"],
  "hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 2, "vocab_size": 32,
  "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 64, "max_position_embeddings": 64,
  "rms_norm_eps": 1e-06, "rope_theta": 1.0e4, "tie_word_embeddings": true
})";

struct SmallCheckpoint {
  QuantConfig quant{
      .bits = 4, .group_size = 64, .zero_point = true, .version = Layout::kGemm, .modules_to_not_convert = {}};
  uint64_t max_shard_bytes = uint64_t{1} << 30;
  std::map<std::string, QuantizedLinear> linears;  // by module
  // Changes tensors of a module before they are written; may erase some.
  std::function<void(const std::string& module, std::vector<EncodedTensor>&)> damage = [](auto&, auto&) {};

  SmallCheckpoint() {
    const model::ModelConfig c = model::parse_config(kSmallConfig, "config.json");
    unsigned seed = 1;
    for (int64_t layer = 0; layer < c.layers; ++layer)
      for (const model::LinearShape& l : model::block_linears(c))
        linears[model::block_prefix(layer) + l.name] = random_linear(l.n, l.k, quant.group_size, l.bias, seed++);
  }

  void store_as(const LayoutRow& row) {
    quant.version = row.layout;
    for (auto& [module, linear] : linears) linear = storable(linear, row);
  }

  void write(const std::filesystem::path& folder) const {
    std::vector<io::TensorSpec> specs;
    std::map<std::string, std::vector<std::byte>> data;
    const auto add = [&](const std::string& name, Dtype dtype, std::vector<int64_t> shape,
                         std::vector<std::byte> bytes) {
      specs.push_back({.name = name, .dtype = dtype, .shape = std::move(shape)});
      data[name] = std::move(bytes);
    };
    const auto floats = [&](const std::string& name, std::vector<int64_t> shape) {
      size_t count = 1;
      for (const int64_t extent : shape) count *= extent;
      std::vector<std::byte> bytes(count * 2);
      for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(i % 2 ? 0x3c : i % 251);  // fp16 near 1
      add(name, Dtype::kF16, std::move(shape), std::move(bytes));
    };
    floats("model.embed_tokens.weight", {32, 128});
    for (const auto& [module, linear] : linears) {
      std::vector<EncodedTensor> tensors = encode_module(layout(quant.version), module, linear);
      damage(module, tensors);
      for (EncodedTensor& t : tensors) add(module + "." + t.suffix, t.dtype, t.shape, std::move(t.bytes));
    }
    for (int layer = 0; layer < 2; ++layer)
      for (const char* norm : {"input_layernorm.weight", "post_attention_layernorm.weight"})
        floats(model::block_prefix(layer) + norm, {128});
    floats("model.norm.weight", {128});

    std::filesystem::create_directories(folder);
    const auto shards = io::plan_shards(specs, max_shard_bytes);
    for (const io::Shard& shard : shards) {
      io::SafetensorsWriter writer(folder / shard.file, shard.tensors);
      for (const io::TensorSpec& spec : shard.tensors) writer.write(data.at(spec.name));
      writer.commit();
    }
    if (shards.size() > 1) io::write_file(folder / "model.safetensors.index.json", io::index_json(shards));
    if (const LayoutRow& row = layout(quant.version); !row.side_file.empty())
      io::write_file(folder / row.side_file, row.side_file_text(quant));
    io::write_file(folder / "config.json",
                   io::with_member(kSmallConfig, "quantization_config", quantization_config_json(quant)));
  }
};

}  // namespace awq::format
