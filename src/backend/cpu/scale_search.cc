// Flops per block, T tokens (2 K^2 per row and candidate is the point of the Gram form; research: docs/design.md):
//   Gram    T K^2 for each distinct input (upper half of 2 T K^2)
//   search  2 N K^2 for each linear and candidate
//   clip    20 N K g for each linear (10 limits against the g x g diagonal blocks)
// All of it is sgemm at the rate of backend/cpu/float_gemm.h; building dW is ~1 ns a weight and candidate.
#include "backend/cpu/scale_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/cpu/float_gemm.h"

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

float step_limit(float largest, int step) { return largest * (1 - static_cast<float>(step) / 20); }

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

void clip_band(MatrixView<const float> w, Range rows, int64_t group, const InputStats& stats, const format::Grid& grid,
               std::span<const int32_t> corrected, std::vector<float>& limits) {
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

}  // namespace

void add_tokens(ThreadPool& pool, MatrixView<const float> x, InputStats& s) {
  if (s.k == 0) {
    s.k = x.cols;
    s.abs_sum.assign(s.k, 0);
    s.gram.assign(s.k * s.k, 0);
  }
  s.tokens += x.rows;
  gram_accumulate(pool, x, {s.gram.data(), s.k, s.k});
  constexpr int64_t kBand = 64;  // columns a task: each adds its own down all rows, so the order is fixed
  pool.parallel_for(pieces(s.k, kBand), [&](int64_t i) {
    const Range c = piece(i, kBand, s.k);
    for (int64_t t = 0; t < x.rows; ++t) {
      const float* row = x.row(t);
      for (int64_t k = c.begin; k < c.end; ++k) s.abs_sum[k] += std::fabs(row[k]);
    }
  });
}

InputStats scaled_stats(const InputStats& stats, std::span<const float> scale) {
  InputStats s = stats;
  for (int64_t i = 0; i < s.k; ++i) {
    s.abs_sum[i] /= scale[i];
    for (int64_t j = 0; j < s.k; ++j) s.gram[i * s.k + j] /= scale[i] * scale[j];
  }
  return s;
}

std::vector<float> weight_mean(std::span<const MatrixView<const float>> weights, int64_t group) {
  std::vector<double> sum(weights.front().cols);
  int64_t rows = 0;
  for (const MatrixView<const float>& w : weights) {
    rows += w.rows;
    for (int64_t r = 0; r < w.rows; ++r)
      for (int64_t first = 0; first < w.cols; first += group) {
        const float* row = w.row(r) + first;
        float largest = 0;
        for (int64_t c = 0; c < group; ++c) largest = std::max(largest, std::fabs(row[c]));
        const float inverse = 1 / (largest + 1e-6f);
        for (int64_t c = 0; c < group; ++c) sum[first + c] += std::fabs(row[c]) * inverse;
      }
  }
  std::vector<float> mean(sum.size());
  for (size_t k = 0; k < sum.size(); ++k) mean[k] = static_cast<float>(sum[k] / static_cast<double>(rows));
  return mean;
}

std::vector<double> scale_losses(ThreadPool& pool, MatrixView<const float> weight, const InputStats& stats,
                                 std::span<const std::vector<float>> candidates, const format::Grid& grid,
                                 std::span<const int32_t> corrected) {
  const int64_t count = std::ssize(candidates);
  std::vector<double> partial(pieces(weight.rows, kRows) * count), losses(candidates.size());
  // A task's rows stay in cache while neighbouring tasks try candidate after candidate on them.
  pool.parallel_for(std::ssize(partial), [&](int64_t i) {
    partial[i] =
        rows_loss(weight, piece(i / count, kRows, weight.rows), stats, candidates[i % count], {}, grid, corrected);
  });
  for (size_t i = 0; i < partial.size(); ++i) losses[i % count] += partial[i];
  return losses;
}

double clipped_loss(ThreadPool& pool, MatrixView<const float> weight, const InputStats& stats,
                    std::span<const float> limits, const format::Grid& grid, std::span<const int32_t> corrected) {
  std::vector<double> partial(pieces(weight.rows, kRows));
  pool.parallel_for(std::ssize(partial), [&](int64_t i) {
    partial[i] = rows_loss(weight, piece(i, kRows, weight.rows), stats, {}, limits, grid, corrected);
  });
  double sum = 0;
  for (double p : partial) sum += p;
  return sum;
}

std::vector<float> clip_limits(ThreadPool& pool, MatrixView<const float> weight, const InputStats& stats,
                               const format::Grid& grid, std::span<const int32_t> corrected) {
  const int64_t groups = weight.cols / grid.group, bands = pieces(weight.rows, kRows);
  std::vector<float> limits(weight.rows * groups);
  pool.parallel_for(groups * bands, [&](int64_t i) {
    clip_band(weight, piece(i % bands, kRows, weight.rows), i / bands, stats, grid, corrected, limits);
  });
  return limits;
}

format::QuantizedLinear quantize(ThreadPool& pool, MatrixView<const float> weight, std::span<const float> limits,
                                 const format::Grid& grid) {
  format::QuantizedLinear out;
  out.n = weight.rows;
  out.k = weight.cols;
  out.group = static_cast<int>(grid.group);
  out.bits = grid.bits;
  out.q.resize(out.n * out.k);
  out.scales.resize(out.n * out.groups());
  out.zeros.resize(out.n * out.groups());
  pool.parallel_for(pieces(weight.rows, kRows), [&](int64_t i) {
    const Range r = piece(i, kRows, weight.rows);
    format::quantize_rows(weight, r.begin, r.end - r.begin, limits, grid, out);
  });
  return out;
}

}  // namespace awq::backend::cpu
