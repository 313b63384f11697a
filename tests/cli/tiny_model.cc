#include "cli/tiny_model.h"

#include <bit>
#include <fstream>
#include <random>
#include <sstream>

namespace awq::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kVocab = 4096;  // of the demo model's tokenizer
constexpr int kLayers = 2;

Json config(int hidden, int intermediate) {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_size", hidden},
          {"intermediate_size", intermediate},
          {"num_hidden_layers", kLayers},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 2},
          {"vocab_size", kVocab},
          {"max_position_embeddings", 512},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"hidden_act", "silu"},
          {"tie_word_embeddings", true},
          {"torch_dtype", "bfloat16"},
          {"bos_token_id", 0},
          {"eos_token_id", 1}};
}

class Weights {
 public:
  void add(const std::string& name, const std::vector<int>& shape, float mean, float spread) {
    size_t count = 1;
    for (const int side : shape) count *= static_cast<size_t>(side);
    const size_t begin = data_.size();
    std::normal_distribution<float> normal(mean, spread);
    for (size_t i = 0; i < count; ++i) {
      const auto bf16 = static_cast<uint16_t>(std::bit_cast<uint32_t>(normal(random_)) >> 16);
      data_.push_back(static_cast<char>(bf16 & 0xff));
      data_.push_back(static_cast<char>(bf16 >> 8));
    }
    header_[name] = {{"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {begin, data_.size()}}};
  }
  const Json& header() const { return header_; }
  const std::string& data() const { return data_; }

 private:
  std::mt19937 random_{1};
  Json header_ = Json::object();
  std::string data_;
};

Weights weights_of(int hidden, int intermediate) {
  Weights w;
  w.add("model.embed_tokens.weight", {kVocab, hidden}, 0, 1);
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::string block = "model.layers." + std::to_string(layer) + ".";
    w.add(block + "input_layernorm.weight", {hidden}, 1, 0.1f);
    for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
      w.add(block + "self_attn." + name + ".weight", {hidden, hidden}, 0, 0.1f);
    }
    w.add(block + "post_attention_layernorm.weight", {hidden}, 1, 0.1f);
    w.add(block + "mlp.gate_proj.weight", {intermediate, hidden}, 0, 0.1f);
    w.add(block + "mlp.up_proj.weight", {intermediate, hidden}, 0, 0.1f);
    w.add(block + "mlp.down_proj.weight", {hidden, intermediate}, 0, 0.1f);
  }
  w.add("model.norm.weight", {hidden}, 1, 0.1f);
  return w;
}

std::string safetensors(const Json& header, const std::string& data) {
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(text.size() >> (8 * i) & 0xff);
  return length + text + data;
}

}  // namespace

std::string read_bytes(const fs::path& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

void write_bytes(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

TinyModel::TinyModel(int hidden, int intermediate) {
  std::string pattern = (fs::temp_directory_path() / "awq-tiny-XXXXXX").string();
  root_ = mkdtemp(pattern.data());
  fs::permissions(root_, fs::perms::all);  // so that a test may become another user
  fs::create_directory(root_ / "model");
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
    fs::copy_file(fs::path(AWQ_SOURCE_DIR "/models/demo") / name, root_ / "model" / name);
  }
  write_bytes(root_ / "model" / "config.json", config(hidden, intermediate).dump(2));
  std::string prose;
  for (int i = 0; i < 1000; ++i)
    prose += "It was a bright morning, and " + std::to_string(i * i) + " boats lay in the harbour. ";
  write_bytes(text(), prose);
  const Weights w = weights_of(hidden, intermediate);
  write_bytes(weights(), safetensors(w.header(), w.data()));
}

TinyModel::~TinyModel() { fs::remove_all(root_); }

void TinyModel::edit_config(const std::function<void(Json&)>& edit) const {
  const fs::path path = root_ / "model" / "config.json";
  Json json = Json::parse(read_bytes(path));
  edit(json);
  write_bytes(path, json.dump(2));
}

void TinyModel::edit_weights(const std::function<void(Json&, std::string&)>& edit) const {
  const std::string bytes = read_bytes(weights());
  size_t length = 0;
  for (size_t i = 0; i < 8; ++i) length |= static_cast<size_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  Json header = Json::parse(bytes.substr(8, length));
  std::string data = bytes.substr(8 + length);
  edit(header, data);
  write_bytes(weights(), safetensors(header, data));
}

void TinyModel::overwrite(const fs::path& path, size_t at, const std::string& bytes) const {
  std::string all = read_bytes(path);
  all.replace(at, bytes.size(), bytes);
  write_bytes(path, all);
}

}  // namespace awq::test
