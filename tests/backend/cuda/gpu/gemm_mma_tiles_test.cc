// The plans of gemm_mma, which need no GPU: valid for every card and shape, and the best where they were measured.
#include "backend/cuda/kernels/gemm_mma_tiles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace awq::backend::cuda {
namespace {

struct Chip {
  const char* name;
  std::span<const MmaTile> tiles;
  MmaCosts costs;
};
const Chip kSm80{"8.0", kMmaTilesSm80, kMmaCostsSm80}, kSm75{"7.5", kMmaTilesSm75, kMmaCostsSm75};

// T4, A100, a seventh of one, RTX 3090, Orin, RTX 4090, H200, B200, RTX 5090.
constexpr Gpu kCards[] = {{75, 40, 65536},   {80, 108, 166912}, {80, 14, 166912},   {86, 82, 101376},  {87, 16, 166912},
                          {89, 128, 101376}, {90, 132, 232448}, {100, 148, 232448}, {120, 170, 101376}};
constexpr TileLayout kLayouts[] = {{8, 8, 8},           {64, 128, 128},     {4096, 4096, 128}, {4096, 14336, 32},
                                   {28672, 4096, 4096}, {57344, 8192, 128}, {8192, 28672, 64}, {4104, 4224, 128}};
constexpr int64_t kTokens[] = {1, 2, 9, 16, 17, 33, 64, 100, 128, 511, 2048, 100000};

MmaPlan plan(const Chip& chip, const TileLayout& layout, int64_t m, const Gpu& gpu) {
  return plan_gemm_mma(chip.tiles, chip.costs, layout, m, gpu);
}

std::vector<Chip> chips_of(const Gpu& gpu) {
  return gpu.capability >= 80 ? std::vector{kSm80, kSm75} : std::vector{kSm75};
}

void expect_valid(const Chip& chip, const TileLayout& layout, int64_t m, const Gpu& gpu) {
  SCOPED_TRACE(std::string(chip.name) + " on " + std::to_string(gpu.capability) + ", n " + std::to_string(layout.n) +
               " k " + std::to_string(layout.k) + " m " + std::to_string(m));
  const MmaPlan chosen = plan(chip, layout, m, gpu);
  ASSERT_GE(chosen.tile, 0);
  ASSERT_LT(static_cast<size_t>(chosen.tile), chip.tiles.size());
  const MmaTile& tile = chip.tiles[chosen.tile];
  EXPECT_LE(tile.smem_bytes(), gpu.smem_per_block);
  EXPECT_GE(chosen.splits, 1);
  EXPECT_LE(chosen.splits, (layout.chunks() + tile.warps_k - 1) / tile.warps_k) << "a part of k without a stage";
  EXPECT_LE((layout.n + tile.rows() - 1) / tile.rows(), 65535) << "a grid's limit in y";
}

TEST(GemmMmaPlan, IsValidForEveryCardAndShape) {
  for (const Gpu& gpu : kCards)
    for (const Chip& chip : chips_of(gpu))
      for (const TileLayout& layout : kLayouts)
        for (const int64_t m : kTokens) expect_valid(chip, layout, m, gpu);
}

// Splitting adds work: it may only serve to fill the card.
TEST(GemmMmaPlan, DoesNotSplitWhatFillsTheCard) {
  for (const Gpu& gpu : kCards)
    for (const Chip& chip : chips_of(gpu)) EXPECT_EQ(plan(chip, {57344, 8192, 128}, 2048, gpu).splits, 1) << chip.name;
}

TEST(GemmMmaPlan, SplitsWhatLeavesTheCardEmpty) {
  for (const Gpu& gpu : {Gpu{75, 40, 65536}, Gpu{80, 108, 166912}, Gpu{90, 132, 232448}})
    for (const Chip& chip : chips_of(gpu)) EXPECT_GT(plan(chip, {512, 14336, 128}, 16, gpu).splits, 1) << chip.name;
}

// The best of up to 36 plans on an H200, group 128. Cells of the measurement are left out where the plan that is chosen
// was not among them: for 8.0 all of m = 1 and 4096 x 4096 at 16, for 7.5 28672 x 4096 at 128, 4096 x 14336 at 1
// and 16.
struct Measured {
  const Chip& chip;
  int64_t n, k, m;
  int rows, tokens, splits;
};
const Measured kBest[] = {
    {kSm80, 4096, 4096, 32, 128, 32, 8},    {kSm80, 4096, 4096, 64, 128, 64, 8},
    {kSm80, 4096, 4096, 128, 128, 64, 4},   {kSm80, 4096, 4096, 256, 128, 64, 2},
    {kSm80, 4096, 4096, 512, 128, 64, 1},   {kSm80, 4096, 4096, 2048, 128, 64, 1},
    {kSm80, 28672, 4096, 16, 128, 32, 4},   {kSm80, 28672, 4096, 32, 128, 32, 4},
    {kSm80, 28672, 4096, 64, 128, 64, 1},   {kSm80, 28672, 4096, 128, 128, 64, 2},
    {kSm80, 28672, 4096, 256, 128, 64, 1},  {kSm80, 28672, 4096, 512, 128, 64, 1},
    {kSm80, 4096, 14336, 16, 128, 32, 8},   {kSm80, 4096, 14336, 32, 128, 32, 8},
    {kSm80, 4096, 14336, 64, 128, 64, 8},   {kSm80, 4096, 14336, 128, 128, 64, 4},
    {kSm80, 4096, 14336, 256, 128, 64, 2},  {kSm80, 4096, 14336, 512, 128, 64, 1},
    {kSm80, 4096, 14336, 2048, 128, 64, 1}, {kSm75, 4096, 4096, 1, 64, 16, 4},
    {kSm75, 4096, 4096, 16, 64, 16, 4},     {kSm75, 4096, 4096, 32, 64, 32, 4},
    {kSm75, 4096, 4096, 64, 128, 64, 8},    {kSm75, 4096, 4096, 128, 128, 64, 4},
    {kSm75, 4096, 4096, 256, 128, 64, 2},   {kSm75, 4096, 4096, 512, 128, 64, 1},
    {kSm75, 4096, 4096, 2048, 128, 64, 1},  {kSm75, 28672, 4096, 1, 64, 16, 2},
    {kSm75, 28672, 4096, 16, 64, 16, 2},    {kSm75, 28672, 4096, 32, 64, 32, 2},
    {kSm75, 28672, 4096, 64, 128, 64, 1},   {kSm75, 28672, 4096, 256, 128, 64, 1},
    {kSm75, 28672, 4096, 512, 128, 64, 1},  {kSm75, 4096, 14336, 32, 64, 32, 4},
    {kSm75, 4096, 14336, 64, 128, 64, 8},   {kSm75, 4096, 14336, 128, 128, 64, 4},
    {kSm75, 4096, 14336, 256, 128, 64, 2},  {kSm75, 4096, 14336, 512, 128, 64, 1},
    {kSm75, 4096, 14336, 2048, 128, 64, 1},
};

TEST(GemmMmaPlan, IsTheBestThatWasMeasured) {
  for (const Measured& best : kBest) {
    const MmaPlan chosen = plan(best.chip, {best.n, best.k, 128}, best.m, {90, 132, 232448});
    const MmaTile& tile = best.chip.tiles[chosen.tile];
    EXPECT_EQ((std::vector{tile.rows(), tile.tokens(), chosen.splits}),
              (std::vector{best.rows, best.tokens, best.splits}))
        << best.chip.name << ", n " << best.n << " k " << best.k << " m " << best.m;
  }
}

}  // namespace
}  // namespace awq::backend::cuda
