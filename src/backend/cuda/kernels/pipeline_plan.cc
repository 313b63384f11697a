#include "backend/cuda/kernels/pipeline_plan.h"

#include <algorithm>

namespace awq::backend::cuda {
namespace {

// Fitted to 11 shapes x 9 m of H200s (2026-11-22): the choice is within 6 % of the best tile on every one, and at every
// m within 0.6 % in the mean (tests/backend/cuda/gpu/measured_tiles.h).
constexpr double kLaunchUs = 2.5;  // first loads, last stores
constexpr double kSplitUs = 1.1;   // partial tiles: more, and less alike in L2
// The same for wide tiles, as a factor. Those of 256 tokens read less x, while there are no more than two blocks of
// tokens.
constexpr double kWideSplit = 1.064, kTwoBlocksOf256 = 1.04;
constexpr double kClusterUs = .067;   // for each other block: sums on their way through shared memory
constexpr double kTallSums = 1.8;     // both costs, as a factor, for the sums of 256 rows
constexpr double kHalfBlocksUs = .6;  // more for a tile of half row blocks that several blocks share
constexpr double kReadTBs = 4.06;     // what the memory gives to a kernel of this kind

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Adding up one more block's share of a tile: latency, and 512 bytes for every token and row block.
double share_us(const PipelineTile& t) { return .18 + .00685 * t.tokens * t.rows / 128; }

// Whole tiles that every block takes before the rest is split: all but the last round and what follows it. Blocks that
// walk along k together find each other's x and weights in L2, split ones do not.
int64_t whole_rounds(const PipelineTile& t, int64_t count, int64_t sms) {
  return t.tokens >= 128 ? std::max<int64_t>(0, count / sms - 1) : 0;
}

double sharing_us(const PipelineTile& t) { return t.parts() == 1 ? 0 : kHalfBlocksUs; }

double sums_factor(const PipelineTile& t) { return t.rows <= 128 ? 1 : kTallSums; }

double split_factor(const PipelineTile& t, int64_t m) {
  if (t.tokens < 128) return 1;
  return t.tokens == 256 && m <= 2 * t.tokens ? kTwoBlocksOf256 : kWideSplit;
}

// A stage while `active` blocks share the memory.
double stage_us(const PipelineTile& t, const TileLayout& layout, int64_t active) {
  const double bytes = t.rows * t.parts() * 64.0 * (1 + 2.5 / std::min(layout.group, kPadK) * 2);
  return std::max(t.stage_us, bytes * static_cast<double>(active) / (kReadTBs * 1e6));
}

// Blocks that share each of `count` tiles, or 1. All clusters run at once, or there are none. Multiprocessors come in
// sixes, not all of them whole: on an H200 there is room for 66 clusters of two, at least 32 of three and fewer than
// 40, at least 16 of six and fewer than 24 (of four and five no more than of six).
int cluster_for(const PipelineTile& t, int64_t count, int64_t stages, int64_t sms) {
  if (!takes_clusters(t)) return 1;
  for (const int blocks : {6, 3, 2})
    if (count <= sms / blocks - (blocks > 2 ? 6 : 0) && stages >= 2 * blocks) return blocks;
  return 1;
}

}  // namespace

PipelinePlan plan_pipeline(std::span<const PipelineTile> tiles, const TileLayout& layout, int64_t m, const Gpu& gpu,
                           bool bf16) {
  PipelinePlan best{.us = 1e30};
  const auto consider = [&](const PipelinePlan& plan) {
    if (plan.us < best.us) best = plan;
  };
  const int64_t sms = std::max(gpu.sms, 1);
  for (size_t i = 0; i < tiles.size(); ++i) {
    const PipelineTile& t = tiles[i];
    if (!fits(t, bf16, groups_of_stage(layout)) || !takes_group(t, layout)) continue;
    const int tile = static_cast<int>(i);
    const int64_t stages = divide_up(layout.k, kPadK * t.parts());
    const int64_t count = row_tiles(layout.n, t.rows) * divide_up(m, t.tokens);
    const auto expected = [&](int64_t blocks, double stages_of_one, double more) {
      return kLaunchUs + more + stages_of_one * stage_us(t, layout, blocks);
    };
    const int64_t all_rounds = divide_up(count, sms);  // the last one may be short: the memory sees the mean
    consider({.tile = tile,
              .grid = static_cast<int>(std::min(count, sms)),
              .us = expected(count / all_rounds, static_cast<double>(all_rounds * stages), 0)});
    if (count % sms != 0) {
      const int64_t blocks = std::min(sms, count * stages), rounds = whole_rounds(t, count, sms);
      const double mine = static_cast<double>((count - rounds * sms) * stages) / static_cast<double>(blocks);
      const double shares = std::max(1.0, static_cast<double>(stages) / mine);
      consider({.tile = tile,
                .split = true,
                .rounds = static_cast<int>(rounds),
                .grid = static_cast<int>(blocks),
                .us = expected(blocks, static_cast<double>(rounds * stages) + mine * split_factor(t, m),
                               sharing_us(t) + kSplitUs * sums_factor(t) + shares * share_us(t))});
    }
    if (const int blocks = cluster_for(t, count, stages, sms); blocks > 1) {
      const double mine = static_cast<double>(divide_up(stages, blocks));
      consider({.tile = tile,
                .cluster = blocks,
                .grid = static_cast<int>(count * blocks),
                .us = expected(count * blocks, mine, sharing_us(t) + (blocks - 1) * kClusterUs * sums_factor(t))});
    }
  }
  if (best.grid < gpu.sms) best.least_smem = static_cast<size_t>(gpu.smem_per_block) / 2 + 1024;
  return best;
}

PipelinePlan plan_launch(std::span<const PipelineTile> tiles, const LinearArgs& a, const Gpu& gpu) {
  return plan_pipeline(tiles, a.layout, a.m, gpu, a.bf16);
}

size_t pipeline_workspace(std::span<const PipelineTile> tiles, const Gpu& gpu) {
  size_t most = 0;
  for (const PipelineTile& tile : tiles)
    most = std::max(most, static_cast<size_t>(gpu.sms) * tile.rows * tile.tokens * sizeof(float));
  return kFlagBytes + most;
}

}  // namespace awq::backend::cuda
