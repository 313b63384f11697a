// The decoder block straight from its definition in float64, one token after the other; shares no code with src/.
#pragma once
#include <cmath>
#include <numbers>
#include <random>
#include <string>
#include <vector>

#include "backend/device.h"
#include "model/architectures.h"

namespace awq::test {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

inline Row linear(const backend::FloatBlock& block, const std::string& name, const Row& x) {
  const backend::FloatTensor& w = *block.find(name + ".weight");
  const backend::FloatTensor* bias = block.find(name + ".bias");
  Row y(w.shape[0]);
  for (size_t i = 0; i < y.size(); ++i) {
    y[i] = bias ? bias->data[i] : 0;
    for (size_t j = 0; j < x.size(); ++j) y[i] += double{w.data[i * x.size() + j]} * x[j];
  }
  return y;
}

inline Row norm(const Row& x, const float* weight, double eps) {
  double squares = 0;
  for (const double v : x) squares += v * v;
  Row y(x);
  for (size_t i = 0; i < x.size(); ++i)
    y[i] = x[i] / std::sqrt(squares / static_cast<double>(x.size()) + eps) * weight[i];
  return y;
}

inline double frequency(const model::Rope& rope, int64_t pair, int64_t head_dim) {
  const double f = std::pow(rope.theta, -2.0 * static_cast<double>(pair) / static_cast<double>(head_dim));
  if (rope.type == model::RopeType::kLinear) return f / rope.factor;
  if (rope.type == model::RopeType::kDefault) return f;
  const double wavelength = 2 * std::numbers::pi / f, old = static_cast<double>(rope.original_max_position);
  if (wavelength > old / rope.low_freq_factor) return f / rope.factor;
  if (wavelength < old / rope.high_freq_factor) return f;
  const double smooth = (old / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return (1 - smooth) * f / rope.factor + smooth * f;
}

// Head norm, then rotation by position * frequency, of every head in the row.
inline void prepare_heads(const model::ModelConfig& c, const backend::FloatTensor* head_norm, int64_t position,
                          Row& x) {
  for (size_t at = 0; at < x.size(); at += c.head_dim) {
    Row head(x.begin() + at, x.begin() + at + c.head_dim);
    if (head_norm) head = norm(head, head_norm->data.data(), c.norm_eps);
    const int64_t half = c.head_dim / 2;
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) * frequency(c.rope, i, c.head_dim);
      x[at + i] = head[i] * std::cos(angle) - head[i + half] * std::sin(angle);
      x[at + i + half] = head[i + half] * std::cos(angle) + head[i] * std::sin(angle);
    }
  }
}

inline Row attend(const model::ModelConfig& c, bool slides, const Row& q, const Rows& keys, const Rows& values) {
  Row out(q.size(), 0.0);
  const size_t first =
      slides && keys.size() > static_cast<size_t>(c.sliding_window) ? keys.size() - c.sliding_window : 0;
  for (int64_t h = 0; h < c.heads; ++h) {
    const int64_t at = h * c.head_dim, kv = h / (c.heads / c.kv_heads) * c.head_dim;
    Row weight;
    double total = 0;
    for (size_t j = first; j < keys.size(); ++j) {
      double score = 0;
      for (int64_t i = 0; i < c.head_dim; ++i) score += q[at + i] * keys[j][kv + i];
      weight.push_back(std::exp(score / std::sqrt(static_cast<double>(c.head_dim))));
      total += weight.back();
    }
    for (size_t j = first; j < keys.size(); ++j)
      for (int64_t i = 0; i < c.head_dim; ++i) out[at + i] += weight[j - first] / total * values[j][kv + i];
  }
  return out;
}

// What the linears of group g read, when given: inputs[g] collects a row per token.
inline void reference_window(const model::ModelConfig& c, const backend::FloatBlock& block, Rows& hidden,
                             std::vector<Rows>* inputs = nullptr) {
  Rows keys, values;
  const bool slides = block.layer < std::ssize(c.layer_slides) && c.layer_slides[block.layer];
  for (size_t t = 0; t < hidden.size(); ++t) {
    const Row x = norm(hidden[t], block.find("input_layernorm.weight")->data.data(), c.norm_eps);
    Row q = linear(block, "self_attn.q_proj", x), k = linear(block, "self_attn.k_proj", x);
    prepare_heads(c, block.find("self_attn.q_norm.weight"), static_cast<int64_t>(t), q);
    prepare_heads(c, block.find("self_attn.k_norm.weight"), static_cast<int64_t>(t), k);
    keys.push_back(k);
    values.push_back(linear(block, "self_attn.v_proj", x));
    const Row attended = attend(c, slides, q, keys, values), o = linear(block, "self_attn.o_proj", attended);
    for (size_t i = 0; i < o.size(); ++i) hidden[t][i] += o[i];
    const Row y = norm(hidden[t], block.find("post_attention_layernorm.weight")->data.data(), c.norm_eps);
    Row gate = linear(block, "mlp.gate_proj", y);
    const Row up = linear(block, "mlp.up_proj", y);
    for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
    const Row down = linear(block, "mlp.down_proj", gate);
    for (size_t i = 0; i < down.size(); ++i) hidden[t][i] += down[i];
    if (inputs == nullptr) continue;
    inputs->resize(4);
    const Row* seen[] = {&x, &attended, &y, &gate};
    for (size_t g = 0; g < 4; ++g) (*inputs)[g].push_back(*seen[g]);
  }
}

inline backend::FloatTensor random_tensor(std::mt19937& rng, std::string name, std::vector<int64_t> shape, float mean,
                                          float spread) {
  backend::FloatTensor t{std::move(name), std::move(shape), {}};
  int64_t size = 1;
  for (const int64_t s : t.shape) size *= s;
  std::normal_distribution<float> normal(mean, spread);
  for (int64_t i = 0; i < size; ++i) t.data.push_back(normal(rng));
  return t;
}

// Every tensor a block of this configuration can have; weights scaled so that activations stay near 1.
inline backend::FloatBlock random_block(const model::ModelConfig& c, std::mt19937& rng, int64_t layer = 0) {
  backend::FloatBlock block{layer, {}};
  const auto linear_tensors = [&](const std::string& name, int64_t n, int64_t k, bool bias) {
    block.tensors.push_back(random_tensor(rng, name + ".weight", {n, k}, 0, 1.5f / std::sqrt(static_cast<float>(k))));
    if (bias) block.tensors.push_back(random_tensor(rng, name + ".bias", {n}, 0, 0.5f));
  };
  const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  linear_tensors("self_attn.q_proj", q, c.hidden, c.attention_bias);
  linear_tensors("self_attn.k_proj", kv, c.hidden, c.attention_bias);
  linear_tensors("self_attn.v_proj", kv, c.hidden, c.attention_bias);
  linear_tensors("self_attn.o_proj", c.hidden, q, c.output_bias);
  linear_tensors("mlp.gate_proj", c.intermediate, c.hidden, c.mlp_bias);
  linear_tensors("mlp.up_proj", c.intermediate, c.hidden, c.mlp_bias);
  linear_tensors("mlp.down_proj", c.hidden, c.intermediate, c.mlp_bias);
  for (const char* name : {"input_layernorm.weight", "post_attention_layernorm.weight"})
    block.tensors.push_back(random_tensor(rng, name, {c.hidden}, 1, 0.2f));
  if (c.arch->qk_norm)
    for (const char* name : {"self_attn.q_norm.weight", "self_attn.k_norm.weight"})
      block.tensors.push_back(random_tensor(rng, name, {c.head_dim}, 1, 0.2f));
  return block;
}

}  // namespace awq::test
