// The plans of the Hopper kernels, which need no GPU: valid for every card and shape, and quick where they were
// measured.
#include "backend/cuda/kernels/pipeline_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "backend/cuda/gpu/measured_tiles.h"
#include "backend/cuda/kernel_rows.h"
#include "backend/cuda/launchers.h"

namespace awq::backend::cuda::testing {
namespace {

struct PipelineRow {
  const char* name;
  std::span<const PipelineTile> tiles;
  const Launcher& launcher;
  int64_t m_max;
};
const PipelineRow kRows[] = {{"gemv_w4a16_bulk_sm90a", kIntegerTiles, kGemvPipelineSm90a, 16},
                             {"gemm_w4a16_wgmma_sm90a", kScaledTiles, kGemmWgmmaSm90a, kAnyM}};

constexpr int kSmem = 232448;
// One multiprocessor, the slices 1g and 3g of an H100, its PCIe card, its SXM card and the H200.
constexpr Gpu kCards[] = {{90, 1, kSmem}, {90, 16, kSmem}, {90, 60, kSmem}, {90, 114, kSmem}, {90, 132, kSmem}};
constexpr Gpu kH200 = kCards[4];
constexpr TileLayout kLayouts[] = {{8, 64, 64},        {64, 128, 128},    {136, 576, 32},
                                   {4096, 4096, 128},  {4096, 14336, 32}, {28672, 4096, 4096},
                                   {57344, 8192, 128}, {8192, 28672, 64}, {16896, 4096, 128}};
constexpr int64_t kTokens[] = {1, 2, 8, 9, 16, 17, 33, 64, 100, 128, 257, 511, 2048, 100000};

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t tile_count(const PipelineTile& tile, const TileLayout& layout, int64_t m) {
  return row_tiles(layout.n, tile.rows) * divide_up(m, tile.tokens);
}

// Runs `check(row, layout, m, gpu)` for everything above.
template <class Check>
void for_every_problem(const Check& check) {
  for (const PipelineRow& row : kRows)
    for (const Gpu& gpu : kCards)
      for (const TileLayout& layout : kLayouts)
        for (const int64_t m : kTokens) {
          if (m > row.m_max) continue;
          SCOPED_TRACE(std::string(row.name) + " on " + std::to_string(gpu.sms) + " SMs, n " +
                       std::to_string(layout.n) + " k " + std::to_string(layout.k) + " m " + std::to_string(m));
          check(row, layout, m, gpu);
        }
}

TEST(PipelinePlan, FitsTheCard) {
  for_every_problem([](const PipelineRow& row, const TileLayout& layout, int64_t m, const Gpu& gpu) {
    const PipelinePlan plan = plan_pipeline(row.tiles, layout, m, gpu);
    ASSERT_GE(plan.tile, 0);
    ASSERT_LT(static_cast<size_t>(plan.tile), row.tiles.size());
    const PipelineTile& tile = row.tiles[plan.tile];
    EXPECT_GE(plan.grid, 1);
    EXPECT_LE(plan.grid, gpu.sms) << "more than one block a multiprocessor";
    EXPECT_LE(plan.grid, tile_count(tile, layout, m) * divide_up(layout.k, kPadK)) << "a block without a stage";
    EXPECT_GT(plan.us, 0);
  });
}

TEST(PipelinePlan, AClusterHasATile) {
  bool any = false;
  for_every_problem([&](const PipelineRow& row, const TileLayout& layout, int64_t m, const Gpu& gpu) {
    const PipelinePlan plan = plan_pipeline(row.tiles, layout, m, gpu);
    if (plan.cluster == 1) return;
    any = true;
    EXPECT_FALSE(plan.split);
    EXPECT_LE(plan.cluster, 8) << "more than every card of 9.0 starts together";
    EXPECT_EQ(plan.grid, tile_count(row.tiles[plan.tile], layout, m) * plan.cluster);
    EXPECT_GE(divide_up(layout.k, kPadK), plan.cluster) << "a block without a stage";
  });
  EXPECT_TRUE(any);
}

TEST(PipelinePlan, DoesNotSplitWhatDividesEvenly) {
  for_every_problem([](const PipelineRow& row, const TileLayout& layout, int64_t m, const Gpu& gpu) {
    const PipelinePlan plan = plan_pipeline(row.tiles, layout, m, gpu);
    if (tile_count(row.tiles[plan.tile], layout, m) % gpu.sms == 0) {
      EXPECT_FALSE(plan.split);
    }
  });
  // 132 x 128 rows: each of the smallest tiles has a multiprocessor of its own.
  EXPECT_FALSE(plan_pipeline(std::span(kIntegerTiles).first(1), {16896, 4096, 128}, 1, kH200).split);
}

TEST(PipelinePlan, SplitsWhatLeavesTheCardEmpty) {
  for (const PipelineRow& row : kRows) {
    const PipelinePlan plan = plan_pipeline(row.tiles, {1024, 14336, 128}, 16, kH200);
    EXPECT_TRUE(plan.split || plan.cluster > 1) << row.name;
    EXPECT_GE(plan.grid, 4 * tile_count(row.tiles[plan.tile], {1024, 14336, 128}, 16)) << row.name;
  }
}

TEST(PipelinePlan, FitsTheWorkspace) {
  for_every_problem([](const PipelineRow& row, const TileLayout& layout, int64_t m, const Gpu& gpu) {
    const PipelinePlan plan = plan_pipeline(row.tiles, layout, m, gpu);
    const PipelineTile& tile = row.tiles[plan.tile];
    const size_t partials = static_cast<size_t>(plan.grid) * tile.rows * tile.tokens * sizeof(float);
    LinearArgs args;
    args.layout = layout;
    args.m = m;
    EXPECT_LE(sizeof(uint64_t) * plan.grid, kFlagBytes);
    EXPECT_LE(kFlagBytes + partials, row.launcher.workspace(args, gpu));
  });
}

// Of the best, on every shape and in the mean over the shapes at each m; pipeline_plan.cc claims it.
constexpr double kWithin = 1.06, kMeanWithin = 1.006;

// The least of a measurement; 0 stands for a plan that was not measured.
template <size_t kTiles>
double least(const MeasuredTiles<kTiles>& cell) {
  double us = 1e30;
  for (const auto& tile : cell.us)
    for (const double plan : tile)
      if (plan > 0) us = std::min(us, plan);
  return us;
}

// The time of the plan's choice as a multiple of the best.
template <size_t kTiles>
double regret(std::span<const PipelineTile> tiles, const MeasuredTiles<kTiles>& cell) {
  const PipelinePlan plan = plan_pipeline(tiles, {cell.n, cell.k, 128}, cell.m, kH200);
  const double chosen = cell.us[plan.tile][plan.cluster > 1 ? 2 : plan.split ? 0 : 1];
  EXPECT_GT(chosen, 0) << "not measured: n " << cell.n << " k " << cell.k << " m " << cell.m;
  return chosen / least(cell);
}

template <size_t kTiles, size_t kCells>
void expect_near_the_best(const PipelineTile (&tiles)[kTiles], const MeasuredTiles<kTiles> (&cells)[kCells]) {
  std::map<int64_t, std::vector<double>> regrets;  // by m
  for (const auto& cell : cells) {
    const double now = regret<kTiles>(tiles, cell);
    EXPECT_LE(now, kWithin) << "n " << cell.n << " k " << cell.k << " m " << cell.m;
    regrets[cell.m].push_back(now);
  }
  for (const auto& [m, of_shapes] : regrets) {
    EXPECT_EQ(of_shapes.size(), 11u) << "m " << m;
    EXPECT_LE(std::accumulate(of_shapes.begin(), of_shapes.end(), 0.) / 11, kMeanWithin) << "m " << m;
  }
}

TEST(PipelinePlan, IsNearTheBestThatWasMeasured) {
  expect_near_the_best(kIntegerTiles, kMeasuredIntegers);
  expect_near_the_best(kScaledTiles, kMeasuredScaled);
  EXPECT_EQ(std::size(kMeasuredIntegers), 11u * 2);
  EXPECT_EQ(std::size(kMeasuredScaled), 11u * 7);
}

// The bound above is one that a plan can miss: no tile alone keeps it.
TEST(PipelinePlan, NoTileAloneIsNearTheBest) {
  for (size_t tile = 0; tile < std::size(kScaledTiles); ++tile) {
    const auto misses = [&](const auto& cell) {
      const double us = *std::max_element(cell.us[tile], cell.us[tile] + 3);
      return us == 0 || us > kWithin * least(cell);
    };
    EXPECT_TRUE(std::any_of(std::begin(kMeasuredScaled), std::end(kMeasuredScaled), misses)) << tile;
  }
}

}  // namespace
}  // namespace awq::backend::cuda::testing
