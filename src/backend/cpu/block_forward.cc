#include "backend/cpu/block_forward.h"

#include <algorithm>
#include <string>
#include <vector>

#include "backend/cpu/decoder_block.h"
#include "backend/cpu/float_gemm.h"
#include "core/checked.h"
#include "model/architectures.h"

namespace awq::backend::cpu {
namespace {

// Intermediate results of the windows in flight. 48 MB hold 2,134 tokens of a 512-wide model: enough rows that a tile
// of weights is used several times, little beside the hidden states of a calibration set.
constexpr uint64_t kBufferBytes = 48u << 20;

class FloatLinear final : public Linear {  // a view of one tensor of the block
 public:
  FloatLinear(const FloatBlock& block, const std::string& name) {
    const FloatTensor* weight = block.find(name + ".weight");
    const FloatTensor* bias = block.find(name + ".bias");
    if (weight == nullptr)
      throw Error(ErrorKind::kBadInput,
                  "block " + std::to_string(block.layer) + " has no tensor '" + name + ".weight'");
    AWQ_ASSERT(weight->shape.size() == 2 && weight->shape[0] * weight->shape[1] == std::ssize(weight->data));
    weight_ = {weight->data.data(), weight->shape[0], weight->shape[1]};
    if (bias != nullptr) bias_ = bias->data;
  }
  int64_t n() const override { return weight_.rows; }
  int64_t k() const override { return weight_.cols; }
  uint64_t bytes() const override { return static_cast<uint64_t>(n()) * k() * sizeof(float); }
  std::string kernel_for(int64_t) const override { return "float32"; }
  void forward(ThreadPool& pool, MatrixView<const float> x, MatrixView<float> y) const override {
    matmul_nt(pool, x, weight_, y, bias_);
  }

 private:
  MatrixView<const float> weight_;  // (n, k)
  std::span<const float> bias_;     // (n) or empty
};

std::span<const float> vector_of(const FloatBlock& block, std::string_view name) {
  const FloatTensor* tensor = block.find(name);
  return tensor == nullptr ? std::span<const float>{} : tensor->data;
}

std::span<const float> norm_of(const FloatBlock& block, const std::string& name, int64_t size) {
  const std::span<const float> weight = vector_of(block, name);
  if (std::ssize(weight) == size) return weight;
  throw Error(ErrorKind::kBadInput, "block " + std::to_string(block.layer) + ": '" + name + "' has " +
                                        std::to_string(weight.size()) + " values, " + std::to_string(size) +
                                        " are needed");
}

struct AttentionLinears {
  explicit AttentionLinears(const FloatBlock& b)
      : q(b, "self_attn.q_proj"), k(b, "self_attn.k_proj"), v(b, "self_attn.v_proj"), o(b, "self_attn.o_proj") {}
  FloatLinear q, k, v, o;
  void attach(const model::ModelConfig& config, const FloatBlock& source, DecoderBlock& block) const {
    block.q = &q, block.k = &k, block.v = &v, block.o = &o;
    if (!config.arch->qk_norm) return;
    block.q_norm = norm_of(source, "self_attn.q_norm.weight", config.head_dim);
    block.k_norm = norm_of(source, "self_attn.k_norm.weight", config.head_dim);
  }
};

struct MlpLinears {
  explicit MlpLinears(const FloatBlock& b) : gate(b, "mlp.gate_proj"), up(b, "mlp.up_proj"), down(b, "mlp.down_proj") {}
  FloatLinear gate, up, down;
  void attach(DecoderBlock& block) const { block.gate = &gate, block.up = &up, block.down = &down; }
};

// Index of the group whose linears read the same input as `linear`.
size_t group_of(const model::Architecture& arch, std::string_view linear) {
  for (size_t g = 0; g < arch.groups.size(); ++g)
    for (const std::string_view name : arch.groups[g].linears)
      if (name == linear) return g;
  throw Error(ErrorKind::kFailure,
              "internal error: no group of " + std::string(arch.hf_name) + " holds " + std::string(linear));
}

// Tokens in flight: whole windows, all of them when they fit.
int64_t tokens_in_flight(const model::ModelConfig& config, int64_t rows, int64_t window) {
  AWQ_ASSERT(window > 0 && rows % window == 0);
  return std::min(rows, BlockBuffers::rows_within(config, kBufferBytes, window) / window * window);
}

class WindowPass {  // everything but the weights that a pass over whole windows needs
 public:
  WindowPass(ThreadPool& pool, const model::ModelConfig& config, int64_t layer, int64_t rows, int64_t window)
      : pool_(pool),
        config_(config),
        shape_(attention_shape(config, layer)),
        window_(window),
        rope_(config.rope, config.head_dim),
        rows_(tokens_in_flight(config, rows, window)),
        buffers_(config, rows_) {
    rope_.extend(window);
    for (int64_t i = 0; i < rows_; ++i) positions_.push_back(i % window);
  }
  int64_t rows() const { return rows_; }
  const BlockBuffers& buffers() const { return buffers_; }

  // Leaves the input of o_proj in buffers().q().
  void attend(const DecoderBlock& block, MatrixView<const float> x) {
    project_qkv(pool_, config_, block, rope_, std::span(positions_).first(x.rows), x, buffers_);
    const auto q = buffers_.q(x.rows), k = buffers_.k(x.rows), v = buffers_.v(x.rows);
    jobs_.clear();
    for (int64_t at = 0; at < x.rows; at += window_)
      jobs_.push_back(
          {q.rows_from(at, window_), k.rows_from(at, window_), v.rows_from(at, window_), q.rows_from(at, window_)});
    attention(pool_, shape_, jobs_);
  }

 private:
  ThreadPool& pool_;
  const model::ModelConfig& config_;
  AttentionShape shape_;
  int64_t window_;
  RopeTable rope_;
  int64_t rows_;  // a multiple of the window
  BlockBuffers buffers_;
  std::vector<int64_t> positions_;
  std::vector<AttentionJob> jobs_;
};

}  // namespace

void forward_float_block(ThreadPool& pool, const model::ModelConfig& config, const FloatBlock& weights,
                         MatrixView<float> hidden, int64_t window, const Observe& observe) {
  const AttentionLinears attention_linears(weights);
  const MlpLinears mlp_linears(weights);
  DecoderBlock block;
  block.input_norm = norm_of(weights, "input_layernorm.weight", config.hidden);
  block.post_attention_norm = norm_of(weights, "post_attention_layernorm.weight", config.hidden);
  attention_linears.attach(config, weights, block);
  mlp_linears.attach(block);
  const auto see = [&](std::string_view linear, MatrixView<const float> x) {
    if (observe) observe(group_of(*config.arch, linear), x);
  };
  WindowPass pass(pool, config, weights.layer, hidden.rows, window);
  for (int64_t at = 0; at < hidden.rows; at += pass.rows()) {
    const auto h = hidden.rows_from(at, std::min(pass.rows(), hidden.rows - at));
    const auto normed = pass.buffers().normed(h.rows), out = pass.buffers().out(h.rows);
    rms_norm_rows(pool, h, block.input_norm, config.norm_eps, normed);
    see("self_attn.q_proj", normed);
    pass.attend(block, normed);
    see("self_attn.o_proj", pass.buffers().q(h.rows));
    block.o->forward(pool, pass.buffers().q(h.rows), out);
    add_rows(pool, h, out);
    rms_norm_rows(pool, h, block.post_attention_norm, config.norm_eps, normed);
    see("mlp.gate_proj", normed);
    gated_activation(pool, block, normed, pass.buffers());
    see("mlp.down_proj", pass.buffers().gate(h.rows));
    block.down->forward(pool, pass.buffers().gate(h.rows), out);
    add_rows(pool, h, out);
  }
}

void float_attention(ThreadPool& pool, const model::ModelConfig& config, const FloatBlock& weights,
                     MatrixView<const float> x, int64_t window, MatrixView<float> out) {
  const AttentionLinears linears(weights);
  DecoderBlock block;
  linears.attach(config, weights, block);
  WindowPass pass(pool, config, weights.layer, x.rows, window);
  for (int64_t at = 0; at < x.rows; at += pass.rows()) {
    const int64_t rows = std::min(pass.rows(), x.rows - at);
    pass.attend(block, x.rows_from(at, rows));
    block.o->forward(pool, pass.buffers().q(rows), out.rows_from(at, rows));
  }
}

void float_mlp(ThreadPool& pool, const model::ModelConfig& config, const FloatBlock& weights, MatrixView<const float> x,
               MatrixView<float> out) {
  const MlpLinears linears(weights);
  DecoderBlock block;
  linears.attach(block);
  const int64_t step = std::min(x.rows, BlockBuffers::rows_within(config, kBufferBytes, 1));
  const BlockBuffers buffers(config, step);
  for (int64_t at = 0; at < x.rows; at += step) {
    const int64_t rows = std::min(step, x.rows - at);
    gated_activation(pool, block, x.rows_from(at, rows), buffers);
    block.down->forward(pool, buffers.gate(rows), out.rows_from(at, rows));
  }
}

}  // namespace awq::backend::cpu
