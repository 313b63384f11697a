#include "backend/cuda/quant/scale_search.h"

#include <algorithm>
#include <cmath>

#include "core/checked.h"

namespace awq::backend::cuda::quant {
namespace {

// Rows of D in one product, versions times rows of the linear: 64 x 8 tiles of 128 x 128, two waves on 132
// multiprocessors, while P (rows, kBand) in float32 stays in an L2 of 50 MB.
constexpr int64_t kTileRows = 8192;

// The largest |D| of plain rounding is about 2^kDifferenceBits: low enough that a candidate thousands of times worse
// does not overflow float16, high enough that the smallest differences keep their digits.
constexpr int kDifferenceBits = 4;

void upload(DeviceBuffer& to, const std::vector<float>& from, cudaStream_t stream) {
  to.reserve(from.size() * sizeof(float));
  check_cuda(cudaMemcpyAsync(to.as(), from.data(), from.size() * sizeof(float), cudaMemcpyHostToDevice, stream),
             "uploading candidates");
}

void download(const DeviceBuffer& from, void* to, size_t bytes, cudaStream_t stream) {
  check_cuda(cudaMemcpyAsync(to, from.as(), bytes, cudaMemcpyDeviceToHost, stream), "reading a result of the search");
  check_cuda(cudaStreamSynchronize(stream), "searching scales");
}

}  // namespace

void ScaleSearch::use(const InputStats& stats) {
  k_ = stats.k;
  d_.resize(k_);
  d_memory_.reserve(k_ * sizeof(float));
  t_.reserve(checked_mul(k_ * k_, sizeof(__half), "a Gram matrix"));
  check_cuda(normalisers(stats.gram.as<float>(), k_, d_memory_.as<float>(), stream_), "normalising a Gram matrix");
  check_cuda(normalise_gram(stats.gram.as<float>(), d_memory_.as<float>(), k_, t_.as<__half>(), stream_),
             "normalising a Gram matrix");
  download(d_memory_, d_.data(), k_ * sizeof(float), stream_);
}

float ScaleSearch::upload_versions(const DeviceLinear& linear, std::span<const int32_t> corrected,
                                   std::span<const std::vector<float>> candidates) {
  const float largest = *std::ranges::max_element(d_) * std::max(linear.largest, 1e-30f);
  // Plain rounding moves a weight by a thirtieth of its group's range at most, 2^-4 of the largest weight.
  const float unit = std::ldexp(1.f, std::clamp(kDifferenceBits + 4 - std::ilogb(largest), -120, 120));
  scales_.resize(candidates.size() * k_);
  weighs_.resize(scales_.size());
  float *scale = scales_.data(), *weigh = weighs_.data();
  for (const std::vector<float>& s : candidates) {
    AWQ_ASSERT(std::ssize(s) == k_);
    std::ranges::copy(s, scale);
    for (int64_t c = 0; c < k_; ++c) weigh[c] = d_[c] * unit / s[c];
    for (const int32_t c : corrected) weigh[c] = 0;
    scale += k_, weigh += k_;
  }
  upload(scale_memory_, scales_, stream_);
  upload(weigh_memory_, weighs_, stream_);
  return unit;
}

Differences ScaleSearch::tile_of(const DeviceLinear& linear, const GroupGrid& grid, int64_t versions) const {
  return {.w = linear.weight,
          .grid = grid,
          .rows = std::min(linear.weight.n, std::max<int64_t>(8, kTileRows / versions)),
          .versions = versions,
          .scale = scale_memory_.as<float>(),
          .weigh = weigh_memory_.as<float>()};
}

void ScaleSearch::reserve_tile(const Differences& tile) {
  const int64_t rows = tile.versions * tile.rows;
  differences_.reserve(rows * k_ * sizeof(__half));
  products_out_.reserve(rows * kBand * sizeof(float));
  row_loss_.reserve(rows * sizeof(double));
}

void ScaleSearch::write(const Differences& tile) { check_cuda(differences(tile, stream_), "rounding candidates"); }

void ScaleSearch::dot_whole_rows(const Differences& tile) {
  const int64_t rows = tile.versions * tile.rows;
  check_cuda(cudaMemsetAsync(row_loss_.as(), 0, rows * sizeof(double), stream_), "clearing losses");
  for (int64_t first = 0; first < k_; first += kBand) {
    const int64_t cols = std::min(kBand, k_ - first);
    products_.linear(rows, cols, first + cols, {tile.out, k_}, {t_.as<__half>() + first * k_, k_},
                     {.data = products_out_.as(), .stride = kBand});
    check_cuda(
        add_row_dots(products_out_.as<float>(), tile.out, rows, k_, first, cols, row_loss_.as<double>(), stream_),
        "adding up losses");
  }
}

std::vector<double> ScaleSearch::losses(const DeviceLinear& linear, const GroupGrid& grid,
                                        std::span<const int32_t> corrected,
                                        std::span<const std::vector<float>> candidates) {
  const float unit = upload_versions(linear, corrected, candidates);
  std::vector<double> losses(candidates.size());
  Differences tile = tile_of(linear, grid, std::ssize(candidates));
  tile.version_stride = k_;
  reserve_tile(tile);
  tile.out = differences_.as<__half>();
  losses_.reserve(losses.size() * sizeof(double));
  check_cuda(cudaMemsetAsync(losses_.as(), 0, losses.size() * sizeof(double), stream_), "clearing losses");
  for (const int64_t step = tile.rows; tile.first_row < linear.weight.n; tile.first_row += step) {
    tile.rows = std::min(step, linear.weight.n - tile.first_row);
    write(tile);
    dot_whole_rows(tile);
    check_cuda(add_version_losses(row_loss_.as<double>(), tile.versions, tile.rows, losses_.as<double>(), stream_),
               "adding up losses");
  }
  download(losses_, losses.data(), losses.size() * sizeof(double), stream_);
  for (double& loss : losses) loss /= double{unit} * unit;
  return losses;
}

// Each group of weights by its own block of H.
void ScaleSearch::find_limits(const Differences& whole, int64_t n, float* limits) {
  Differences tile = whole;
  const int64_t group = tile.grid.group;
  for (const int64_t step = tile.rows; tile.first_row < n; tile.first_row += step) {
    tile.rows = std::min(step, n - tile.first_row);
    write(tile);
    BestSteps best{.d = tile, .cols = k_, .limits = limits};
    if (group == k_) {
      dot_whole_rows(tile);
      best.row_loss = row_loss_.as<double>();
      check_cuda(best_steps(best, stream_), "choosing limits");
      continue;
    }
    best.p = products_out_.as<float>();
    for (best.first_col = 0; best.first_col < k_; best.first_col += kBand) {
      best.cols = std::min(kBand, k_ - best.first_col);
      const int64_t at = best.first_col;
      products_.linear(tile.versions * tile.rows, group, group, {tile.out + at, k_, group},
                       {t_.as<__half>() + at * k_ + at, k_, group * (k_ + 1)},
                       {.data = products_out_.as(), .stride = kBand, .step = group}, 1, 0, best.cols / group);
      check_cuda(best_steps(best, stream_), "choosing limits");
    }
  }
}

double ScaleSearch::clip(DeviceLinear& linear, const GroupGrid& grid, std::span<const int32_t> corrected,
                         std::span<const float> scale, double loss) {
  const std::vector<float> only(scale.begin(), scale.end());
  const float unit = upload_versions(linear, corrected, {&only, 1});
  const int64_t n = linear.weight.n;
  limits_.reserve(n * (k_ / grid.group) * sizeof(float));
  losses_.reserve(sizeof(double));
  Differences steps = tile_of(linear, grid, kClipSteps);
  Differences clamped = tile_of(linear, grid, 1);
  steps.clamp = Clamp::kSteps;
  clamped.clamp = Clamp::kLimits;
  clamped.limits = limits_.as<float>();
  reserve_tile(steps);
  reserve_tile(clamped);
  steps.out = clamped.out = differences_.as<__half>();
  find_limits(steps, n, limits_.as<float>());
  check_cuda(cudaMemsetAsync(losses_.as(), 0, sizeof(double), stream_), "clearing losses");
  for (const int64_t step = clamped.rows; clamped.first_row < n; clamped.first_row += step) {
    clamped.rows = std::min(step, n - clamped.first_row);
    write(clamped);
    dot_whole_rows(clamped);
    check_cuda(add_version_losses(row_loss_.as<double>(), 1, clamped.rows, losses_.as<double>(), stream_),
               "adding up losses");
  }
  double with_limits = 0;
  download(losses_, &with_limits, sizeof with_limits, stream_);
  with_limits /= double{unit} * unit;
  if (!(with_limits < loss)) return loss;
  std::swap(linear.limits, limits_);
  linear.clipped = true;
  return with_limits;
}

}  // namespace awq::backend::cuda::quant
