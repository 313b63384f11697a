#include "backend/cuda/kernels/gemm_mma_tiles.h"

#include <algorithm>

namespace awq::backend::cuda {
namespace {

constexpr int kMaxSplits = 16;

constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Cycles that an SM's tensor cores need for m16n8k16 with float32 sums, by NVIDIA's published rates; of 8.6, 8.9
// and 12.0 those of GeForce, twice those of professional cards.
constexpr struct {
  int capability;
  double cycles;
} kMmaCycles[] = {{75, 4}, {80, 2}, {86, 8}, {87, 4}, {89, 8}, {90, 2}, {120, 8}};

double mma_cycles(int capability) {
  double cycles = kMmaCycles[0].cycles;
  for (const auto& row : kMmaCycles)
    if (capability >= row.capability) cycles = row.cycles;
  return cycles;
}

int resident_blocks(const MmaTile& tile, const Gpu& gpu) {
  return std::clamp((gpu.smem_per_block + 1024) / (tile.smem_bytes() + 1024), 1, tile.resident);  // 1 KB: the driver's
}

// Cycles from launch to end, of the SM that has most to do.
double plan_cost(const MmaTile& tile, int splits, const MmaCosts& c, const TileLayout& layout, int64_t m,
                 const Gpu& gpu) {
  const int64_t blocks = divide_up(layout.padded_n(), tile.rows()) * divide_up(m, tile.tokens()) * splits;
  const int64_t of_sm = divide_up(blocks, gpu.sms);
  const int64_t waves = divide_up(of_sm, std::min<int64_t>(of_sm, resident_blocks(tile, gpu)));
  const int64_t stages = divide_up(divide_up(layout.chunks(), tile.warps_k), splits);
  const double token_tile = std::max(c.token_tile, 4 * mma_cycles(gpu.capability));  // a chunk is four k-steps
  const double issue =
      tile.warps_m * tile.warps_k * (c.warp + tile.row_tiles * (c.row_tile + tile.token_tiles * token_tile));
  const double latency = c.latency + tile.row_tiles * tile.token_tiles * c.tile_latency;
  const double product = stages * std::max(of_sm * issue, waves * latency) + waves * c.block;
  if (splits == 1) return product;
  const double partial_bytes = 2.0 * splits * m * layout.padded_n() * sizeof(float);
  return product + c.second_kernel + partial_bytes / (c.partial_bytes_per_cycle * gpu.sms);
}

}  // namespace

MmaPlan plan_gemm_mma(std::span<const MmaTile> tiles, const MmaCosts& costs, const TileLayout& layout, int64_t m,
                      const Gpu& gpu) {
  MmaPlan best;
  double best_cost = 0;
  for (size_t i = 0; i < tiles.size(); ++i) {
    if (tiles[i].smem_bytes() > gpu.smem_per_block) continue;
    const int64_t stages = divide_up(layout.chunks(), tiles[i].warps_k);
    for (int splits = 1; splits <= std::min<int64_t>(stages, kMaxSplits); ++splits) {
      const double cost = plan_cost(tiles[i], splits, costs, layout, m, gpu);
      if (best_cost == 0 || cost < best_cost) best = {static_cast<int>(i), splits}, best_cost = cost;
    }
  }
  return best;
}

}  // namespace awq::backend::cuda
