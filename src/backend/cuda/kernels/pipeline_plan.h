// Which tile a Hopper kernel takes and how its tiles are split along k: a written cost model.
#pragma once
#include <cstdint>
#include <span>

#include "backend/cuda/linear_launch.h"

namespace awq::backend::cuda {

// A tile of the pipeline: `blocks` x 128 rows, `tokens` tokens; `stages` in the ring, of 128 k (64 for 256 tokens).
struct PipelineTile {
  int tokens, blocks, stages;
  double stage_us;  // 128 k of one block, the rest of the chip as busy; H200, measured

  constexpr int rows() const { return 128 * blocks; }
};

// stage_us: fitted, with the costs in pipeline_plan.cc, to the sweeps in measured_tiles.h (H200s, 2026-11-22). The
// integer tiles below 4.2 TB/s are bound by memory, which plan_pipeline() knows, so theirs is the time with fewer
// blocks.
// clang-format off
inline constexpr PipelineTile kIntegerTiles[] = {  // consume_integers.cuh
    {8, 1, 8, .234}, {8, 2, 6, .465}, {16, 1, 8, .307}, {16, 2, 6, .546},
};
inline constexpr PipelineTile kScaledTiles[] = {  // consume_scaled.cuh
    {32, 1, 4, .403}, {32, 2, 4, .689}, {64, 1, 4, .581}, {64, 2, 4, 1.01},
    {128, 1, 4, .734}, {128, 2, 3, 1.43}, {256, 1, 4, 1.44},
};
// clang-format on

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
// All instances but one: in bfloat16 with four groups a stage, 256 tokens need more registers than there are.
constexpr bool fits(const PipelineTile& tile, bool bf16, int groups) {
  return !(tile.tokens == 256 && bf16 && groups == 4);
}

// What the blocks of a cluster send each other does not fit beside the ring of larger tiles.
constexpr bool takes_clusters(const PipelineTile& tile) { return tile.tokens * tile.blocks <= 64; }

// The tile with the least expected time. tiles must not be empty; m, n, k >= 1.
PipelinePlan plan_pipeline(std::span<const PipelineTile> tiles, const TileLayout&, int64_t m, const Gpu&);

// The same for a launch: without the tiles that do not fit its type and group.
PipelinePlan plan_launch(std::span<const PipelineTile> tiles, const LinearArgs&, const Gpu&);

inline constexpr size_t kFlagBytes = 4096;  // of the workspace: flags of up to 512 blocks, before their partial sums

// Bytes of workspace for every plan with these tiles, whatever the shape: with fewer tokens the plan may be one with
// larger partial sums.
size_t pipeline_workspace(std::span<const PipelineTile> tiles, const Gpu&);

}  // namespace awq::backend::cuda
