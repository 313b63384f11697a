// Flops per block, T tokens (2 K^2 per row and candidate is the point of the Gram form; research: docs/design.md):
//   Gram    T K^2 for each distinct input (upper half of 2 T K^2)
//   search  2 N K^2 for each linear and candidate
//   clip    20 N K g for each linear (10 limits against the g x g diagonal blocks)
// All of it is sgemm at the rate of backend/cpu/float_gemm.h; building dW is ~1 ns a weight and candidate.
#include "backend/cpu/quant_engine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "backend/cpu/block_forward.h"
#include "backend/cpu/float_gemm.h"
#include "core/checked.h"
#include "core/thread_pool.h"
#include "model/architectures.h"

namespace awq::backend::cpu {
namespace {

constexpr int64_t kRows = 128;  // rows of a weight in one task: dW and dW H of a task stay in the L2 for k <= 1024
constexpr int kClipSteps = 10;  // limits max|w| * (1 - i/20), i = 0 .. 9: AutoAWQ's n_grid 20, max_shrink 0.5

struct Scratch {
  std::vector<float> d, p;
};
Scratch& scratch(size_t floats) {  // one a thread, grown to the largest task
  thread_local Scratch s;
  if (s.d.size() < floats) s.d.resize(floats), s.p.resize(floats);
  return s;
}

// sum over rows of d . p, in float64 so that the sum of many rows keeps its last digits
double inner_product(const float* d, const float* p, int64_t count) {
  double sum[4] = {};
  int64_t i = 0;
  for (; i + 4 <= count; i += 4)
    for (int l = 0; l < 4; ++l) sum[l] += static_cast<double>(d[i + l]) * p[i + l];
  for (; i < count; ++i) sum[0] += static_cast<double>(d[i]) * p[i];
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

MatrixView<const float> gram_view(const InputStats& s) { return {s.gram.data(), s.k, s.k}; }

class CpuQuantEngine final : public QuantEngine {
 public:
  CpuQuantEngine(const model::ModelConfig& config, int threads) : config_(config), pool_(threads) {}

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

  void forward_block(const FloatBlock& block, MatrixView<float> hidden, int64_t window,
                     const Collect& collect) override {
    const auto poll = [&] {
      if (collect.poll) collect.poll();
    };
    if (!collect.stats)
      return forward_float_block(pool_, config_, block, hidden, window,
                                 [&](size_t, MatrixView<const float>) { poll(); });
    collect.stats->assign(config_.arch->groups.size(), {});
    if (collect.inputs) collect.inputs->assign(config_.arch->groups.size(), {});
    forward_float_block(pool_, config_, block, hidden, window, [&](size_t group, MatrixView<const float> x) {
      poll();
      add_tokens((*collect.stats)[group], x);
      if (std::find(collect.keep_inputs.begin(), collect.keep_inputs.end(), group) == collect.keep_inputs.end()) return;
      for (int64_t t = 0; t < x.rows; ++t)
        (*collect.inputs)[group].insert((*collect.inputs)[group].end(), x.row(t), x.row(t) + x.cols);
    });
    for (InputStats& s : *collect.stats)
      if (s.k > 0) mirror_upper(pool_, {s.gram.data(), s.k, s.k});
  }

  std::vector<double> scale_losses(std::span<const MatrixView<const float>> weights, const InputStats& stats,
                                   std::span<const std::vector<float>> candidates, const format::Grid& grid,
                                   std::span<const int32_t> corrected) override {
    struct Task {
      size_t weight;
      Range rows;
    };
    std::vector<Task> tasks;
    for (size_t w = 0; w < weights.size(); ++w)
      for (int64_t i = 0; i < pieces(weights[w].rows, kRows); ++i)
        tasks.push_back({w, piece(i, kRows, weights[w].rows)});
    const int64_t count = std::ssize(candidates);
    std::vector<double> partial(tasks.size() * candidates.size());
    // A task's rows stay in cache while neighbouring tasks try candidate after candidate on them.
    pool_.parallel_for(std::ssize(partial), [&](int64_t i) {
      const Task& task = tasks[i / count];
      partial[i] = rows_loss(weights[task.weight], task.rows, stats, candidates[i % count], {}, grid, corrected);
    });
    std::vector<double> losses(weights.size() * candidates.size());
    for (size_t i = 0; i < partial.size(); ++i) losses[tasks[i / count].weight * count + i % count] += partial[i];
    return losses;
  }

  double loss(MatrixView<const float> weight, const InputStats& stats, std::span<const float> limits,
              const format::Grid& grid, std::span<const int32_t> corrected) override {
    std::vector<double> partial(pieces(weight.rows, kRows));
    pool_.parallel_for(std::ssize(partial), [&](int64_t i) {
      partial[i] = rows_loss(weight, piece(i, kRows, weight.rows), stats, {}, limits, grid, corrected);
    });
    double sum = 0;
    for (double p : partial) sum += p;
    return sum;
  }

  std::vector<float> clip_limits(MatrixView<const float> weight, const InputStats& stats, const format::Grid& grid,
                                 std::span<const int32_t> corrected) override {
    const int64_t groups = weight.cols / grid.group, bands = pieces(weight.rows, kRows);
    std::vector<float> limits(weight.rows * groups);
    pool_.parallel_for(groups * bands, [&](int64_t i) {
      clip_band(weight, piece(i % bands, kRows, weight.rows), i / bands, stats, grid, corrected, limits);
    });
    return limits;
  }

  format::QuantizedLinear quantize(MatrixView<const float> weight, std::span<const float> limits,
                                   const format::Grid& grid) override {
    format::QuantizedLinear out;
    out.n = weight.rows;
    out.k = weight.cols;
    out.group = static_cast<int>(grid.group);
    out.bits = grid.bits;
    out.q.resize(out.n * out.k);
    out.scales.resize(out.n * out.groups());
    out.zeros.resize(out.n * out.groups());
    pool_.parallel_for(pieces(weight.rows, kRows), [&](int64_t i) {
      const Range r = piece(i, kRows, weight.rows);
      format::quantize_rows(weight, r.begin, r.end - r.begin, limits, grid, out);
    });
    return out;
  }

  void module_output(const FloatBlock& block, std::string_view module, MatrixView<const float> input, int64_t window,
                     MatrixView<float> output) override {
    if (module == "self_attn") return float_attention(pool_, config_, block, input, window, output);
    AWQ_ASSERT(module == "mlp");
    float_mlp(pool_, config_, block, input, output);
  }

 private:
  void add_tokens(InputStats& s, MatrixView<const float> x) {
    if (s.k == 0) {
      s.k = x.cols;
      s.abs_sum.assign(s.k, 0);
      s.gram.assign(s.k * s.k, 0);
    }
    s.tokens += x.rows;
    gram_accumulate(pool_, x, {s.gram.data(), s.k, s.k});
    constexpr int64_t kBand = 64;  // columns a task: each adds its own down all rows, so the order is fixed
    pool_.parallel_for(pieces(s.k, kBand), [&](int64_t i) {
      const Range c = piece(i, kBand, s.k);
      for (int64_t t = 0; t < x.rows; ++t) {
        const float* row = x.row(t);
        for (int64_t k = c.begin; k < c.end; ++k) s.abs_sum[k] += std::fabs(row[k]);
      }
    });
  }

  // tr(D H D') over some rows, D = Q(clamp(W s)) / s - W; s empty = 1.
  double rows_loss(MatrixView<const float> w, Range rows, const InputStats& stats, std::span<const float> s,
                   std::span<const float> limits, const format::Grid& grid, std::span<const int32_t> corrected) {
    const int64_t k = w.cols, groups = k / grid.group, m = rows.end - rows.begin;
    Scratch& mem = scratch(static_cast<size_t>(kRows * k));
    for (int64_t r = 0; r < m; ++r) {
      const float* src = w.row(rows.begin + r);
      float* d = mem.d.data() + r * k;
      if (s.empty()) {
        format::round_row(src, k, grid, limits.empty() ? limits : limits.subspan((rows.begin + r) * groups, groups), d);
        for (int64_t c = 0; c < k; ++c) d[c] -= src[c];
      } else {
        for (int64_t c = 0; c < k; ++c) d[c] = src[c] * s[c];
        format::round_row(d, k, grid, {}, d);
        for (int64_t c = 0; c < k; ++c) d[c] = d[c] / s[c] - src[c];
      }
      for (int32_t c : corrected) d[c] = 0;
    }
    sgemm_nn({mem.d.data(), m, k}, gram_view(stats), {mem.p.data(), m, k});
    return inner_product(mem.d.data(), mem.p.data(), m * k);
  }

  void clip_band(MatrixView<const float> w, Range rows, int64_t group, const InputStats& stats,
                 const format::Grid& grid, std::span<const int32_t> corrected, std::vector<float>& limits) {
    const int64_t g = grid.group, first = group * g, groups = w.cols / g, m = rows.end - rows.begin;
    Scratch& mem = scratch(static_cast<size_t>(kRows * kClipSteps * g));
    std::vector<float> largest(m);
    for (int64_t r = 0; r < m; ++r) {
      const float* src = w.row(rows.begin + r) + first;
      for (int64_t c = 0; c < g; ++c) largest[r] = std::max(largest[r], std::fabs(src[c]));
      for (int step = 0; step < kClipSteps; ++step) {
        float* d = mem.d.data() + (step * m + r) * g;
        format::round_group(src, g, grid, step_limit(largest[r], step), d);
        for (int64_t c = 0; c < g; ++c) d[c] -= src[c];
        for (int32_t c : corrected)
          if (c >= first && c < first + g) d[c - first] = 0;
      }
    }
    const MatrixView<const float> h(stats.gram.data() + first * stats.k + first, g, g, stats.k);
    sgemm_nn({mem.d.data(), m * kClipSteps, g}, h, {mem.p.data(), m * kClipSteps, g});
    for (int64_t r = 0; r < m; ++r) {
      double best = std::numeric_limits<double>::infinity();
      float limit = largest[r];
      for (int step = 0; step < kClipSteps; ++step) {  // strictly less: the widest of equals wins, as in AutoAWQ
        const int64_t at = (step * m + r) * g;
        const double error = inner_product(mem.d.data() + at, mem.p.data() + at, g);
        if (error < best) best = error, limit = step_limit(largest[r], step);
      }
      limits[(rows.begin + r) * groups + group] = limit;
    }
  }

  static float step_limit(float largest, int step) { return largest * (1 - static_cast<float>(step) / 20); }

  const model::ModelConfig& config_;
  ThreadPool pool_;
};

}  // namespace

std::unique_ptr<QuantEngine> make_quant_engine(const model::ModelConfig& config, int threads) {
  return std::make_unique<CpuQuantEngine>(config, threads);
}

}  // namespace awq::backend::cpu
