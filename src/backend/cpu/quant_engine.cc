#include "backend/cpu/quant_engine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>

#include "backend/cpu/block_forward.h"
#include "backend/cpu/float_gemm.h"
#include "backend/cpu/fold.h"
#include "backend/cpu/scale_search.h"
#include "core/checked.h"
#include "core/thread_pool.h"
#include "io/convert.h"
#include "model/architectures.h"

namespace awq::backend::cpu {
namespace {

FloatTensor widened(const BlockTensor& from, int64_t layer) {
  FloatTensor t{from.name, from.shape, std::vector<float>(from.bytes.size() / dtype_bytes(from.dtype))};
  io::convert_to_f32(from.dtype, from.bytes.data(), t.data);
  size_t bad = 0, first = 0;
  for (size_t i = t.data.size(); i-- > 0;)
    if (!std::isfinite(t.data[i])) ++bad, first = i;
  if (bad > 0) throw not_finite(layer, t.name, bad, first);
  return t;
}

// Tells what took the time since the stage before.
class StageClock {
 public:
  explicit StageClock(const std::function<void(std::string_view, double, double)>& tell) : tell_(tell) {}
  void end(std::string_view stage) {
    const double now = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    if (tell_) tell_(stage, last_, now);
    last_ = now;
  }

 private:
  const std::function<void(std::string_view, double, double)>& tell_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double last_ = 0;
};

class CpuQuantEngine final : public QuantEngine {
 public:
  CpuQuantEngine(const model::ModelConfig& config, const QuantEngineOptions& options)
      : config_(config), options_(options), pool_(options.threads) {}

  double measure_flops() override {
    constexpr int64_t kSide = 1024;
    const std::vector<float> a(kSide * kSide, 0.5f), b(kSide * kSide, 0.25f);
    std::vector<float> c(kSide * kSide);
    double best = 0;
    for (int round = 0; round < 3; ++round) {  // the first also pays for oneDNN's code generation
      const auto begun = std::chrono::steady_clock::now();
      matmul_nt(pool_, {a.data(), kSide, kSide}, {b.data(), kSide, kSide}, {c.data(), kSide, kSide});
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
      best = std::max(best, 2.0 * kSide * kSide * kSide / took.count());
    }
    return best;
  }

  std::shared_ptr<std::byte[]> host_memory(uint64_t bytes) override {
    return std::shared_ptr<std::byte[]>(new std::byte[bytes]);
  }

  void set_hidden(int64_t first, MatrixView<const float> rows) override {
    if (hidden_.empty()) hidden_.resize(tokens() * config_.hidden);
    const auto to = hidden().rows_from(first, rows.rows);
    for (int64_t r = 0; r < rows.rows; ++r) std::copy_n(rows.row(r), rows.cols, to.row(r));
  }
  void get_hidden(int64_t first, MatrixView<float> rows) const override {
    for (int64_t r = 0; r < rows.rows; ++r)
      std::copy_n(hidden_.data() + (first + r) * config_.hidden, rows.cols, rows.row(r));
  }

  void load_block(int64_t layer, std::span<const BlockTensor> tensors) override {
    block_ = {layer, {}};
    limits_.clear();
    for (const BlockTensor& t : tensors) block_.tensors.push_back(widened(t, layer));
  }

  void forward_block(const Forward& forward) override {
    const size_t groups = config_.arch->groups.size();
    stats_.assign(forward.collect ? groups : 0, {});
    inputs_.assign(forward.collect ? groups : 0, {});
    StageClock clock(forward.timed);
    forward_float_block(pool_, config_, block_, hidden(), options_.window,
                        [&](size_t group, MatrixView<const float> x) {
                          if (forward.poll) forward.poll();
                          if (!forward.collect) return;
                          clock.end("forward");
                          add_tokens(pool_, x, stats_[group]);
                          clock.end("gram");
                          if (std::ranges::find(forward.keep_inputs, group) == forward.keep_inputs.end()) return;
                          for (int64_t t = 0; t < x.rows; ++t)
                            inputs_[group].insert(inputs_[group].end(), x.row(t), x.row(t) + x.cols);
                        });
    clock.end("forward");
    for (InputStats& s : stats_)
      if (s.k > 0) mirror_upper(pool_, {s.gram.data(), s.k, s.k});
    if (forward.collect) clock.end("gram");
  }

  InputSummary input(size_t group) const override { return {stats_[group].tokens, stats_[group].abs_sum}; }

  std::vector<float> weight_mean(std::span<const SearchedLinear> linears) override {
    std::vector<MatrixView<const float>> weights;
    for (const SearchedLinear& linear : linears) weights.push_back(weight(linear.name));
    return cpu::weight_mean(weights, grid(weights.front().cols).group);
  }

  std::vector<float> column_squares(std::string_view linear) override {
    const MatrixView<const float> w = weight(linear);
    std::vector<float> sum(w.cols);
    for (int64_t r = 0; r < w.rows; ++r)
      for (int64_t c = 0; c < w.cols; ++c) sum[c] += w(r, c) * w(r, c);
    return sum;
  }

  std::vector<double> scale_losses(size_t group, std::span<const SearchedLinear> linears,
                                   std::span<const std::vector<float>> candidates) override {
    std::vector<double> losses;
    for (const SearchedLinear& linear : linears) {
      const auto row = cpu::scale_losses(pool_, weight(linear.name), stats_[group], candidates, grid(stats_[group].k),
                                         linear.corrected);
      losses.insert(losses.end(), row.begin(), row.end());
    }
    return losses;
  }

  std::vector<double> module_losses(size_t group, std::span<const SearchedLinear> linears,
                                    std::span<const std::vector<float>> candidates) override {
    std::vector<float>& input = inputs_[group];
    const int64_t k = stats_[group].k;
    const MatrixView<const float> x(input.data(), std::ssize(input) / k, k);
    std::vector<float> reference(input.size()), output(input.size());
    module_output(block_, config_.arch->groups[group].scored_on, x, {reference.data(), x.rows, k});
    std::vector<double> losses;
    for (const std::vector<float>& scale : candidates) {
      FloatBlock rounded = block_;
      for (const SearchedLinear& linear : linears) round_in_place(rounded, linear, scale);
      module_output(rounded, config_.arch->groups[group].scored_on, x, {output.data(), x.rows, k});
      double sum = 0;
      for (size_t i = 0; i < output.size(); ++i) {
        const double d = static_cast<double>(output[i]) - reference[i];
        sum += d * d;
      }
      losses.push_back(sum);
    }
    return losses;
  }

  // On the weights as their consumer sees them (columns scaled, rows not yet divided by what the next group folds in),
  // so that the loss is the same quantity as in the search and the two can be compared.
  double clip(size_t group, const SearchedLinear& linear, std::span<const float> scale, double loss) override {
    const bool plain = std::ranges::all_of(scale, [](float s) { return s == 1; });
    const InputStats stats = plain ? stats_[group] : scaled_stats(stats_[group], scale);
    FloatTensor w = *tensor(linear.name, ".weight");
    const MatrixView<float> scaled(w.data.data(), w.shape[0], w.shape[1]);
    scale_columns(scaled, scale);
    std::vector<float> limits = clip_limits(pool_, scaled, stats, grid(stats.k), linear.corrected);
    const double clipped = clipped_loss(pool_, scaled, stats, limits, grid(stats.k), linear.corrected);
    if (!(clipped < loss)) return loss;  // each limit is best for its own group; across groups errors may add up
    limits_[linear.name] = std::move(limits);
    return clipped;
  }

  void fold(size_t group, std::span<const float> scale) override {
    const model::LayerGroup& g = config_.arch->groups[group];
    fold_scale(block_, g, scale);
    const auto found = limits_.find(g.absorbs);
    if (found == limits_.end()) return;
    std::vector<float>& limits = found->second;
    const int64_t rows = weight(g.absorbs).rows, groups = std::ssize(limits) / rows, first = rows - std::ssize(scale);
    for (int64_t r = 0; r < std::ssize(scale); ++r)
      for (int64_t i = 0; i < groups; ++i) limits[(first + r) * groups + i] /= scale[r];
  }

  void pack(const SearchedLinear& linear, PackedLinear& out) override {
    const MatrixView<const float> w = weight(linear.name);
    const auto limits = limits_.find(linear.name);
    out = {};
    out.packed = quantize(pool_, w, limits == limits_.end() ? std::span<const float>{} : limits->second, grid(w.cols));
    if (const FloatTensor* bias = tensor(linear.name, ".bias"))
      for (float b : bias->data) out.packed.bias.push_back(f32_to_f16(b));
    out.salient.index = linear.corrected;
    for (int32_t c : out.salient.index)
      for (int64_t r = 0; r < w.rows; ++r)
        out.salient.delta.push_back(f32_to_f16(w(r, c) - out.packed.dequantized(r, c)));
  }

  FloatTensor folded(std::string_view name) override {
    const FloatTensor* t = block_.find(name);
    AWQ_ASSERT(t != nullptr);
    return *t;
  }

 private:
  int64_t tokens() const { return options_.windows * options_.window; }
  MatrixView<float> hidden() { return {hidden_.data(), tokens(), config_.hidden}; }
  format::Grid grid(int64_t k) const {
    format::Grid g = options_.grid;
    if (g.group == 0) g.group = k;
    return g;
  }
  const FloatTensor* tensor(std::string_view linear, std::string_view suffix) const {
    return block_.find(std::string(linear).append(suffix));
  }
  MatrixView<const float> weight(std::string_view linear) const {
    const FloatTensor* t = tensor(linear, ".weight");
    AWQ_ASSERT(t != nullptr);
    return {t->data.data(), t->shape[0], t->shape[1]};
  }

  void round_in_place(FloatBlock& block, const SearchedLinear& linear, std::span<const float> scale) const {
    FloatTensor& t = *block.find(linear.name + ".weight");
    const MatrixView<const float> original = weight(linear.name);
    const int64_t n = t.shape[0], k = t.shape[1];
    scale_columns({t.data.data(), n, k}, scale);
    for (int64_t r = 0; r < n; ++r) {
      float* row = t.data.data() + r * k;
      format::round_row(row, k, grid(k), {}, row);
      for (int64_t c = 0; c < k; ++c) row[c] /= scale[c];
      for (int32_t c : linear.corrected) row[c] = original(r, c);
    }
  }

  void module_output(const FloatBlock& block, std::string_view module, MatrixView<const float> x,
                     MatrixView<float> output) {
    if (module == "self_attn") return float_attention(pool_, config_, block, x, options_.window, output);
    AWQ_ASSERT(module == "mlp");
    float_mlp(pool_, config_, block, x, output);
  }

  const model::ModelConfig& config_;
  const QuantEngineOptions options_;
  ThreadPool pool_;
  std::vector<float> hidden_;  // (windows * window, hidden)
  FloatBlock block_;
  std::vector<InputStats> stats_;                                  // of the groups
  std::vector<std::vector<float>> inputs_;                         // (tokens, k) of the groups where they are kept
  std::map<std::string, std::vector<float>, std::less<>> limits_;  // by linear, of the scaled weight (n, k / group)
};

}  // namespace

std::unique_ptr<QuantEngine> make_quant_engine(const model::ModelConfig& config, const QuantEngineOptions& options) {
  return std::make_unique<CpuQuantEngine>(config, options);
}

}  // namespace awq::backend::cpu
