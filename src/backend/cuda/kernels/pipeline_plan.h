// Which tile a Hopper kernel takes and how its tiles are split along k: a written cost model.
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>

#include "backend/cuda/linear_launch.h"

namespace awq::backend::cuda {

// Parts of 128 k that a stage has. Tiles that are no multiple of 128 rows are made of half row blocks, one half (32
// rows) of each of rows / 32 blocks side by side: that is one box of a tensor map. Their stages are twice as long,
// because an SM starts a copy every 120 cycles or so, whatever its size.
constexpr int parts_of_stage(int rows) { return rows % 128 == 0 ? 1 : 2; }

// Tiles of `rows` rows that n rows make: with half row blocks an even number, the lower halves and the upper ones.
constexpr int64_t row_tiles(int64_t n, int rows) {
  const int parts = parts_of_stage(rows);
  return (n + parts * rows - 1) / (parts * rows) * parts;
}

// A tile of the pipeline: `rows` rows, `tokens` tokens; `stages` in the ring, of `parts` x 128 k (64 for 256 tokens).
struct PipelineTile {
  int tokens, rows, stages;
  double stage_us;  // parts x 128 k of one block, the rest of the chip as busy; H200, measured

  constexpr int parts() const { return parts_of_stage(rows); }
};

// stage_us: fitted, with the costs in pipeline_plan.cc, to the sweeps in measured_tiles.h (H200s, 2026-11-22). The
// integer tiles below 4.2 TB/s are bound by memory, which plan_pipeline() knows, so theirs is the time with fewer
// blocks.
// clang-format off
inline constexpr PipelineTile kIntegerTiles[] = {  // consume_integers.cuh
    {8, 128, 8, .244}, {8, 256, 6, .465}, {16, 128, 8, .29}, {16, 256, 6, .535},
    {8, 64, 8, .242}, {8, 96, 8, .36}, {16, 64, 8, .291}, {16, 96, 8, .499},
};
inline constexpr PipelineTile kScaledTiles[] = {  // consume_scaled.cuh
    {32, 128, 4, .4}, {32, 256, 4, .68}, {64, 128, 4, .53}, {64, 256, 4, .98}, {128, 128, 4, .734}, {128, 256, 3, 1.43},
    {256, 128, 4, 1.44}, {32, 64, 7, .395}, {64, 64, 3, .57}, {32, 192, 3, 1.06},
};
// clang-format on
// The warpgroups take turns at the stages of these, and a slot of the ring is always the same one's: kernel_sm90a.cuh.
static_assert(std::ranges::all_of(kIntegerTiles, [](const PipelineTile& tile) { return tile.stages % 2 == 0; }));

struct PipelinePlan {
  int tile = 0;        // index
  bool split = false;  // stream-k,
  int rounds = 0;      // after so many rounds of whole tiles
  int cluster = 1;     // blocks of a cluster that share a tile
  int grid = 0;        // blocks
  double us = 0;       // expected
  // With fewer blocks than multiprocessors two could land on one while others idle (28672 x 4096, m = 1: 25.4 us, not
  // 17.5): shared memory that a second block would not find keeps them apart.
  size_t least_smem = 0;
};

constexpr int groups_of_stage(const TileLayout& layout) {
  return layout.group >= kPadK || layout.group == layout.k ? 1 : kPadK / layout.group;
}
// Not all instances exist. With four groups a stage, 256 tokens in bfloat16 need more registers than there are, and 192
// rows more shared memory; wgmma, which bfloat16 and groups of 32 need, takes 64 rows at a time, and with groups of 64
// the factors of 96 rows leave too little memory for the ring.
constexpr bool fits(const PipelineTile& tile, bool bf16, int groups) {
  if (tile.rows % 64 != 0) return !bf16 && groups == 1;
  return groups < 4 || !((tile.tokens == 256 && bf16) || tile.rows == 192);
}
// The parts of a stage have groups of their own.
constexpr bool takes_group(const PipelineTile& tile, const TileLayout& layout) {
  return tile.parts() == 1 || layout.group <= kPadK;
}

// What the blocks of a cluster send each other does not fit beside the ring of larger tiles.
constexpr bool takes_clusters(const PipelineTile& tile) { return tile.tokens * tile.rows <= 64 * 128; }

// The tile with the least expected time. tiles must not be empty; m, n, k >= 1.
PipelinePlan plan_pipeline(std::span<const PipelineTile> tiles, const TileLayout&, int64_t m, const Gpu&,
                           bool bf16 = false);

// The same for a launch: without the tiles that do not fit its type and group.
PipelinePlan plan_launch(std::span<const PipelineTile> tiles, const LinearArgs&, const Gpu&);

inline constexpr size_t kFlagBytes = 4096;  // of the workspace: flags of up to 512 blocks, before their partial sums

// Bytes of workspace for every plan with these tiles, whatever the shape: with fewer tokens the plan may be one with
// larger partial sums.
size_t pipeline_workspace(std::span<const PipelineTile> tiles, const Gpu&);

}  // namespace awq::backend::cuda
