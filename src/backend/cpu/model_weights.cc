#include "backend/cpu/model_weights.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "backend/cpu/packed_linear.h"
#include "model/architectures.h"

namespace awq::backend::cpu {
namespace {

constexpr int kMostReaders = 8;  // threads, each with a decoded linear beside its packed one: 0.1 GB of Llama 3 8B

class Loader {
 public:
  Loader(const io::Checkpoint& checkpoint, const model::ModelConfig& config, const ExecutorOptions& options)
      : checkpoint_(checkpoint), config_(config), packed_(checkpoint, config, options) {}

  BlockWeights block(int64_t layer) const {
    const std::string prefix = model::block_prefix(layer);
    BlockWeights w;
    for (const model::LinearShape& shape : model::block_linears(config_)) w.linears.push_back(linear(prefix, shape));
    w.input_norm = checkpoint_.read_f32(prefix + "input_layernorm.weight");
    w.post_attention_norm = checkpoint_.read_f32(prefix + "post_attention_layernorm.weight");
    if (config_.arch->qk_norm) {
      w.q_norm = checkpoint_.read_f32(prefix + "self_attn.q_norm.weight");
      w.k_norm = checkpoint_.read_f32(prefix + "self_attn.k_norm.weight");
    }
    return w;
  }

  std::shared_ptr<const StoredMatrix> matrix(const std::string& tensor, int64_t n, int64_t k) const {
    return std::make_shared<const StoredMatrix>(checkpoint_, tensor, n, k);
  }

 private:
  std::unique_ptr<Linear> linear(const std::string& prefix, const model::LinearShape& shape) const {
    const std::string module = prefix + shape.name;
    if (packed_.has(module)) return packed_.load(module, shape.n, shape.k);
    return std::make_unique<StoredLinear>(matrix(module + ".weight", shape.n, shape.k),
                                          shape.bias ? checkpoint_.read_f32(module + ".bias") : std::vector<float>{});
  }

  const io::Checkpoint& checkpoint_;
  const model::ModelConfig& config_;
  PackedLinears packed_;
};

}  // namespace

DecoderBlock BlockWeights::view() const {
  DecoderBlock block{
      .input_norm = input_norm, .post_attention_norm = post_attention_norm, .q_norm = q_norm, .k_norm = k_norm};
  const Linear** const order[] = {&block.q, &block.k, &block.v, &block.o, &block.gate, &block.up, &block.down};
  for (size_t i = 0; i < std::size(order); ++i) *order[i] = linears[i].get();
  return block;
}

uint64_t ModelWeights::bytes_a_token() const {
  uint64_t floats = final_norm.size(), bytes = head->bytes();
  for (const BlockWeights& b : blocks) {
    floats += b.input_norm.size() + b.post_attention_norm.size() + b.q_norm.size() + b.k_norm.size();
    for (const auto& linear : b.linears) bytes += linear->bytes();
  }
  return bytes + floats * sizeof(float);
}

ModelWeights load_weights(const io::Checkpoint& checkpoint, const model::ModelConfig& config,
                          const ExecutorOptions& options, ThreadPool& pool) {
  model::check_tensors(checkpoint, config);
  const Loader loader(checkpoint, config, options);
  ModelWeights w;
  w.final_norm = checkpoint.read_f32("model.norm.weight");
  w.blocks.resize(static_cast<size_t>(config.layers));
  std::shared_ptr<const StoredMatrix> head;
  const auto load = [&](int64_t part) {  // the largest two first
    if (part == 0)
      w.embedding = loader.matrix("model.embed_tokens.weight", config.vocab, config.hidden);
    else if (part > 1)
      w.blocks[static_cast<size_t>(part - 2)] = loader.block(part - 2);
    else if (!config.tied_embeddings)
      head = loader.matrix("lm_head.weight", config.vocab, config.hidden);
  };
  std::atomic<int64_t> next{0};
  pool.parallel_for(std::min(pool.size(), kMostReaders), [&](int64_t) {
    for (int64_t part = next++; part < config.layers + 2; part = next++) load(part);
  });
  w.head = std::make_unique<StoredLinear>(head ? head : w.embedding, std::vector<float>{});
  return w;
}

}  // namespace awq::backend::cpu
