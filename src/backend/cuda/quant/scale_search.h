// Losses of candidate scales and of clipping limits, by matrix products on tensor cores.
//
// A loss is sum(D o (D t)) with D and t of search_launch.h, both float16 with float32 sums: rounding D and t moves it
// by some 1e-6 relative. Of t only the blocks on and below the diagonal are multiplied, half of 2 n k^2 flop. For
// Llama-3-8B with 40 candidates 2.1e15 in all, 3 s at 0.7e15 a second; all candidates are evaluated in full.
#pragma once
#include <span>
#include <vector>

#include "backend/cuda/cuda_objects.h"
#include "backend/cuda/quant/device_block.h"
#include "backend/cuda/quant/products.h"
#include "backend/cuda/quant/search_launch.h"
#include "backend/cuda/quant/window_pass.h"

namespace awq::backend::cuda::quant {

class ScaleSearch {
 public:
  ScaleSearch(cudaStream_t stream, Products& products) : stream_(stream), products_(products) {}

  // Must be called before the two below whenever statistics are new or others.
  void use(const InputStats&);

  std::vector<double> losses(const DeviceLinear&, const GroupGrid&, std::span<const int32_t> corrected,
                             std::span<const std::vector<float>> candidates);

  // Keeps the limits in the linear when they make a loss below `loss`; returns the lesser.
  double clip(DeviceLinear&, const GroupGrid&, std::span<const int32_t> corrected, std::span<const float> scale,
              double loss);

 private:
  // Scales of the versions and what their differences are multiplied by, on the device; returns that factor without d /
  // s.
  float upload_versions(const DeviceLinear&, std::span<const int32_t> corrected,
                        std::span<const std::vector<float>> candidates);
  Differences tile_of(const DeviceLinear&, const GroupGrid&, int64_t versions) const;
  void reserve_tile(const Differences&);
  void write(const Differences&);           // D of the tile
  void dot_whole_rows(const Differences&);  // row_loss_ of the tile
  void find_limits(const Differences&, int64_t n, float* limits);

  cudaStream_t stream_;
  Products& products_;
  int64_t k_ = 0;
  std::vector<float> d_;  // normalisers
  std::vector<float> scales_, weighs_;
  DeviceBuffer d_memory_, t_, scale_memory_, weigh_memory_, differences_, products_out_, row_loss_, losses_, limits_;
};

}  // namespace awq::backend::cuda::quant
