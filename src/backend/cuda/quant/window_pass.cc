#include "backend/cuda/quant/window_pass.h"

#include <algorithm>
#include <cmath>

#include "backend/cuda/quant/forward_launch.h"
#include "backend/cuda/quant/search_launch.h"
#include "core/checked.h"
#include "model/architectures.h"

namespace awq::backend::cuda::quant {
namespace {

constexpr std::string_view kReader[kInputs] = {"self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj",
                                               "mlp.down_proj"};
enum Input : size_t { kNormed, kAttended, kNormedForMlp, kActivation };

constexpr float kActivationUnit = 1.f / 16;
constexpr float unit_of(size_t input) { return input == kActivation ? kActivationUnit : 1.f; }

constexpr int64_t kUsualTokens = 4096;  // in flight: enough rows to fill the chip with tiles of 128 x 256
constexpr int64_t kGramTokens = 4096;   // added to H at once: H is read and written once a step

int64_t windows_of(int64_t tokens, int64_t window) { return std::max<int64_t>(1, tokens / window); }

int64_t width_of(const model::ModelConfig& c, size_t input) {
  return input == kAttended ? c.heads * c.head_dim : input == kActivation ? c.intermediate : c.hidden;
}

std::vector<size_t> inputs_of_groups(const model::Architecture& arch) {
  std::vector<size_t> inputs;
  for (const model::LayerGroup& group : arch.groups) {
    const auto found = std::ranges::find_if(
        kReader, [&](std::string_view name) { return std::ranges::find(group.linears, name) != group.linears.end(); });
    AWQ_ASSERT(found != std::end(kReader));
    inputs.push_back(static_cast<size_t>(found - std::begin(kReader)));
  }
  return inputs;
}

template <class T>
void upload(DeviceBuffer& to, const std::vector<T>& from, cudaStream_t stream) {
  to.reserve(from.size() * sizeof(T));
  check_cuda(cudaMemcpyAsync(to.as(), from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice, stream),
             "uploading a table");
}

}  // namespace

WindowPass::WindowPass(const model::ModelConfig& config, const QuantEngineOptions& options,
                       std::span<const float> rope_frequencies, cudaStream_t stream, Products& products)
    : config_(config),
      options_(options),
      stream_(stream),
      products_(products),
      input_of_group_(inputs_of_groups(*config.arch)),
      gram_windows_(windows_of(kGramTokens, options.window)) {
  std::vector<float> cosines, sines;
  for (int64_t p = 0; p < options.window; ++p)
    for (const float f : rope_frequencies) {
      const float angle = static_cast<float>(p) * f;  // rounded to float32 first, as in training
      cosines.push_back(static_cast<float>(std::cos(double{angle})));
      sines.push_back(static_cast<float>(std::sin(double{angle})));
    }
  upload(cos_, cosines, stream);
  upload(sin_, sines, stream);
  hidden_.reserve(tokens() * config.hidden * sizeof(float));
  batch_ = std::min(options.windows, options.batch > 0 ? options.batch : windows_of(kUsualTokens, options.window));
  reserve_buffers();
}

void WindowPass::reserve_buffers() {
  try {
    reserve_for(batch_);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNoRoom || !shrink()) throw;
  }
}

bool WindowPass::shrink() {
  if (batch_ == 1) return false;
  batch_ /= 2;
  for (DeviceBuffer* b : {&q_, &k_, &v_, &gate_, &up_}) *b = {};
  for (DeviceBuffer& b : inputs_) b = {};
  reserve_buffers();
  return true;
}

void WindowPass::reserve_for(int64_t batch) {
  const auto halves = [&](int64_t windows, int64_t width) {
    return checked_mul(windows * options_.window, 2 * width, "a buffer");
  };
  slots_ = (batch + gram_windows_ - 1) / gram_windows_ * gram_windows_;
  for (size_t i = 0; i < kInputs; ++i) inputs_[i].reserve(halves(slots_, width_of(config_, i)));
  q_.reserve(halves(batch, config_.heads * config_.head_dim));
  k_.reserve(halves(batch, config_.kv_heads * config_.head_dim));
  v_.reserve(halves(batch, config_.kv_heads * config_.head_dim));
  gate_.reserve(halves(batch, config_.intermediate));
  up_.reserve(halves(batch, config_.intermediate));
}

float* WindowPass::hidden(int64_t window) const {
  return hidden_.as<float>() + window * options_.window * config_.hidden;
}
__half* WindowPass::input(size_t which, int64_t window) const {
  return inputs_[which].as<__half>() + window * options_.window * width_of(config_, which);
}

void WindowPass::set_hidden(int64_t first, MatrixView<const float> rows) {
  AWQ_ASSERT(rows.cols == config_.hidden && rows.stride == rows.cols && first >= 0 && first + rows.rows <= tokens());
  check_cuda(cudaMemcpyAsync(hidden_.as<float>() + first * rows.cols, rows.data, rows.rows * rows.cols * sizeof(float),
                             cudaMemcpyHostToDevice, stream_),
             "uploading hidden states");
  check_cuda(cudaStreamSynchronize(stream_), "uploading hidden states");
}

void WindowPass::get_hidden(int64_t first, MatrixView<float> rows) const {
  AWQ_ASSERT(rows.cols == config_.hidden && rows.stride == rows.cols && first >= 0 && first + rows.rows <= tokens());
  check_cuda(cudaMemcpyAsync(rows.data, hidden_.as<float>() + first * rows.cols, rows.rows * rows.cols * sizeof(float),
                             cudaMemcpyDeviceToHost, stream_),
             "reading hidden states");
  check_cuda(cudaStreamSynchronize(stream_), "reading hidden states");
}

void WindowPass::prepare(const QuantEngine::Forward& forward) {
  for (size_t i = 0; i < kInputs; ++i) {
    InputStats& s = stats_[i];
    s.k = forward.collect ? width_of(config_, i) : 0;
    if (!forward.collect) continue;
    s.gram.reserve(checked_mul(s.k * s.k, sizeof(float), "a Gram matrix"));
    s.abs_sum.reserve(s.k * sizeof(double));
    abs_parts_.reserve(abs_sum_parts(gram_windows_ * options_.window) * s.k * sizeof(float));
    check_cuda(cudaMemsetAsync(s.gram.as(), 0, s.k * s.k * sizeof(float), stream_), "clearing statistics");
    check_cuda(cudaMemsetAsync(s.abs_sum.as(), 0, s.k * sizeof(double), stream_), "clearing statistics");
  }
  if (!forward.collect) return;
  for (const size_t group : forward.keep_inputs) {
    const size_t i = input_of_group_[group];
    kept_[i].reserve(checked_mul(tokens(), 2 * width_of(config_, i), "kept inputs"));
  }
}

void WindowPass::run(DeviceBlock& block, const QuantEngine::Forward& forward) {
  marks_.clear();
  for (int64_t first = 0; first < options_.windows; first += slots_) {
    const int64_t count = std::min(slots_, options_.windows - first);
    marks_.begin("forward", stream_);
    for (int64_t slot = 0; slot < count; slot += batch_) {
      if (forward.poll) forward.poll();
      this->forward(block, {first + slot, std::min(batch_, count - slot), slot});
    }
    if (!forward.collect) continue;
    marks_.begin("gram", stream_);
    for (int64_t slot = 0; slot < count; slot += gram_windows_)
      add_statistics(slot, std::min(gram_windows_, count - slot));
    keep_inputs(forward.keep_inputs, {first, count, 0});
  }
  marks_.begin("", stream_);
  check_cuda(cudaStreamSynchronize(stream_), "running a block");
  if (forward.timed) marks_.tell(forward.timed);
}

WindowPass::Linear WindowPass::linear_of(DeviceBlock& block, std::string_view name,
                                         std::span<const Replaced> replaced) const {
  const auto found = std::ranges::find(replaced, name, &Replaced::linear);
  const DeviceLinear& linear = found == replaced.end() ? block.linear(name) : block.described(name);
  return {found == replaced.end() ? linear.f16 : found->f16, linear.bias, linear.weight.n, linear.weight.k};
}

void WindowPass::product(const Linear& w, const __half* x, int64_t rows, __half* y) {
  products_.linear(rows, w.n, w.k, {x, w.k}, {w.w, w.k}, {.data = y, .stride = w.n, .f32 = false});
}

// out = beta out + o_proj(attention(x)); what o_proj reads is left in `attended`.
void WindowPass::attention_module(DeviceBlock& block, std::span<const Replaced> replaced, const __half* x,
                                  __half* attended, float* out, int64_t windows, float beta) {
  const int64_t rows = windows * options_.window;
  const struct {
    std::string_view linear, norm;
    DeviceBuffer& to;
    int64_t heads;
    bool rotates;
  } parts[] = {{"self_attn.q_proj", "self_attn.q_norm.weight", q_, config_.heads, true},
               {"self_attn.k_proj", "self_attn.k_norm.weight", k_, config_.kv_heads, true},
               {"self_attn.v_proj", "", v_, config_.kv_heads, false}};
  for (const auto& part : parts) {
    const Linear w = linear_of(block, part.linear, replaced);
    product(w, x, rows, part.to.as<__half>());
    Heads heads{.x = part.to.as<__half>(),
                .bias = w.bias,
                .tokens = rows,
                .heads = part.heads,
                .head_dim = config_.head_dim,
                .window = options_.window,
                .eps = static_cast<float>(config_.norm_eps)};
    if (part.rotates) {
      heads.cos = cos_.as<float>(), heads.sin = sin_.as<float>();
      if (config_.arch->qk_norm) heads.norm = block.vector(part.norm, config_.head_dim);
    }
    if (part.rotates || w.bias != nullptr) check_cuda(finish_heads(heads, stream_), "rotating heads");
  }
  const bool slides = block.layer() < std::ssize(config_.layer_slides) && config_.layer_slides[block.layer()];
  check_cuda(attend({.q = q_.as<__half>(),
                     .k = k_.as<__half>(),
                     .v = v_.as<__half>(),
                     .out = attended,
                     .windows = windows,
                     .window = options_.window,
                     .heads = config_.heads,
                     .kv_heads = config_.kv_heads,
                     .head_dim = config_.head_dim,
                     .sliding = slides ? config_.sliding_window : 0},
                    stream_),
             "attending");
  const Linear o = linear_of(block, "self_attn.o_proj", replaced);
  products_.linear(rows, o.n, o.k, {attended, o.k}, {o.w, o.k}, {.data = out, .stride = o.n}, 1, beta);
  if (o.bias != nullptr) check_cuda(add_bias(out, o.bias, rows, o.n, stream_), "adding a bias");
}

// out = beta out + down(silu(gate(x)) up(x)); what down reads is left in `act`.
void WindowPass::mlp_module(DeviceBlock& block, std::span<const Replaced> replaced, const __half* x, __half* act,
                            float* out, int64_t windows, float beta) {
  const int64_t rows = windows * options_.window;
  const Linear gate = linear_of(block, "mlp.gate_proj", replaced);
  product(gate, x, rows, gate_.as<__half>());
  const Linear up = linear_of(block, "mlp.up_proj", replaced);  // not sooner: it may take the place of the one before
  product(up, x, rows, up_.as<__half>());
  check_cuda(
      silu_mul(gate_.as<__half>(), up_.as<__half>(), gate.bias, up.bias, rows, up.n, kActivationUnit, act, stream_),
      "activating");
  const Linear down = linear_of(block, "mlp.down_proj", replaced);
  products_.linear(rows, down.n, down.k, {act, down.k}, {down.w, down.k}, {.data = out, .stride = down.n},
                   1 / kActivationUnit, beta);
  if (down.bias != nullptr) check_cuda(add_bias(out, down.bias, rows, down.n, stream_), "adding a bias");
}

void WindowPass::forward(DeviceBlock& block, const Part& part) {
  float* h = hidden(part.first);
  const auto norm = [&](const char* weight, __half* to) {
    check_cuda(rms_norm(h, block.vector(weight, config_.hidden), static_cast<float>(config_.norm_eps), rows(part),
                        config_.hidden, to, stream_),
               "norming");
  };
  norm("input_layernorm.weight", input(kNormed, part.slot));
  attention_module(block, {}, input(kNormed, part.slot), input(kAttended, part.slot), h, part.count, 1);
  norm("post_attention_layernorm.weight", input(kNormedForMlp, part.slot));
  mlp_module(block, {}, input(kNormedForMlp, part.slot), input(kActivation, part.slot), h, part.count, 1);
}

// Block rows of kBand of H, each up to and including the diagonal: half of the flops, as H is symmetric.
void WindowPass::add_statistics(int64_t slot, int64_t windows) {
  const int64_t rows = windows * options_.window;
  for (size_t i = 0; i < kInputs; ++i) {
    const InputStats& s = stats_[i];
    const __half* x = input(i, slot);
    for (int64_t first = 0; first < s.k; first += kBand) {
      const int64_t count = std::min(kBand, s.k - first);
      products_.gram(rows, count, first + count, {x + first, s.k}, {x, s.k},
                     {.data = s.gram.as<float>() + first * s.k, .stride = s.k}, 1 / (unit_of(i) * unit_of(i)));
    }
    check_cuda(add_abs_sums(x, rows, s.k, 1 / unit_of(i), abs_parts_.as<float>(), s.abs_sum.as<double>(), stream_),
               "adding statistics");
  }
}

void WindowPass::keep_inputs(std::span<const size_t> groups, const Part& part) {
  for (const size_t group : groups) {
    const size_t i = input_of_group_[group];
    const int64_t width = width_of(config_, i), at = part.first * options_.window * width;
    check_cuda(cudaMemcpyAsync(kept_[i].as<__half>() + at, input(i, 0), rows(part) * width * sizeof(__half),
                               cudaMemcpyDeviceToDevice, stream_),
               "keeping inputs");
  }
}

void WindowPass::run_module(size_t group, DeviceBlock& block, std::span<const Replaced> replaced, int64_t window,
                            float* out) {
  const size_t i = input_of_group_[group];
  const __half* x = kept_[i].as<__half>() + window * options_.window * width_of(config_, i);
  if (config_.arch->groups[group].scored_on == "self_attn")
    return attention_module(block, replaced, x, input(kAttended, 0), out, 1, 0);
  AWQ_ASSERT(config_.arch->groups[group].scored_on == "mlp");
  mlp_module(block, replaced, x, input(kActivation, 0), out, 1, 0);
}

void WindowPass::keep_module_output(size_t group, DeviceBlock& block) {
  reference_.reserve(tokens() * config_.hidden * sizeof(float));
  for (int64_t window = 0; window < options_.windows; ++window)
    run_module(group, block, {}, window, reference_.as<float>() + window * options_.window * config_.hidden);
}

double WindowPass::module_difference(size_t group, DeviceBlock& block, std::span<const Replaced> replaced) {
  const int64_t count = options_.window * config_.hidden;
  module_out_.reserve(count * sizeof(float));
  difference_parts_.reserve(kDifferenceParts * sizeof(double));
  difference_.reserve(sizeof(double));
  check_cuda(cudaMemsetAsync(difference_.as(), 0, sizeof(double), stream_), "comparing outputs");
  for (int64_t window = 0; window < options_.windows; ++window) {
    run_module(group, block, replaced, window, module_out_.as<float>());
    check_cuda(add_squared_difference(module_out_.as<float>(), reference_.as<float>() + window * count, count,
                                      difference_parts_.as<double>(), difference_.as<double>(), stream_),
               "comparing outputs");
  }
  double sum = 0;
  check_cuda(cudaMemcpyAsync(&sum, difference_.as(), sizeof sum, cudaMemcpyDeviceToHost, stream_), "comparing outputs");
  check_cuda(cudaStreamSynchronize(stream_), "comparing outputs");
  return sum;
}

}  // namespace awq::backend::cuda::quant
