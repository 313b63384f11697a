#include "backend/cuda/kernels/gemm_mma_tiles.h"

#include <algorithm>

namespace awq::backend::cuda {
namespace {

constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Cycles of one SM, all approximate; only their order between plans matters.
struct Costs {
  double mma_per_cycle;    // m16n8k16 an SM
  double bytes_per_cycle;  // L2 to one SM
  double latency;          // DRAM to shared memory
  double start;            // of a block: first loads, epilogue
  double second_kernel;    // launch of add_splits
};

constexpr Costs costs_of(int capability) {
  if (capability < 80) return {0.25, 32, 700, 2500, 3000};
  if (capability < 90) return {capability == 80 ? 0.5 : 0.25, 40, 800, 2500, 3000};
  return {0.6, 48, 900, 2500, 3000};
}

int resident_blocks(const MmaTile& tile, const Gpu& gpu) {
  return std::clamp((gpu.smem_per_block + 1024) / (tile.smem_bytes() + 1024), 1, tile.resident);  // 1 KB: the driver's
}

double plan_cost(const MmaTile& tile, int splits, const TileLayout& layout, int64_t m, const Gpu& gpu) {
  const Costs c = costs_of(gpu.capability);
  const int64_t blocks = divide_up(layout.padded_n(), tile.rows()) * divide_up(m, tile.tokens()) * splits;
  const int64_t block_stages = divide_up(divide_up(layout.chunks(), tile.warps_k), splits);
  const int64_t rounds = divide_up(blocks, gpu.sms);  // blocks that the busiest SM computes
  const int64_t together = std::min<int64_t>(rounds, resident_blocks(tile, gpu));
  const double mma = 4.0 * tile.warps_k * tile.tiles() * tile.token_tiles / c.mma_per_cycle;
  const double bytes = tile.stage_bytes() / c.bytes_per_cycle;
  // What one stage costs the SM; a lone block cannot hide the latency of its loads.
  const double stage = std::max({mma, bytes, c.latency / ((tile.stages - 1) * together)});
  double cycles = rounds * (block_stages * stage) + divide_up(rounds, together) * c.start;
  if (splits > 1)
    cycles += c.second_kernel + 2.0 * splits * m * layout.padded_n() * sizeof(float) / (c.bytes_per_cycle * gpu.sms);
  return cycles;
}

}  // namespace

MmaPlan plan_gemm_mma(const MmaTile* tiles, int count, const TileLayout& layout, int64_t m, const Gpu& gpu) {
  MmaPlan best;
  double best_cost = 0;
  for (int i = 0; i < count; ++i) {
    if (tiles[i].smem_bytes() > gpu.smem_per_block) continue;
    const int64_t stages = divide_up(layout.chunks(), tiles[i].warps_k);
    for (int splits = 1; splits <= std::min<int64_t>(stages, 16); ++splits) {
      const double cost = plan_cost(tiles[i], splits, layout, m, gpu);
      if (best_cost == 0 || cost < best_cost) best = {i, splits}, best_cost = cost;
    }
  }
  return best;
}

}  // namespace awq::backend::cuda
