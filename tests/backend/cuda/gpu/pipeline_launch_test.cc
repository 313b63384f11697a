// Every tile of the Hopper kernels, whole, split along k at every place and in clusters, on small ragged problems:
// plans that the cost model would make for large ones alone. Through the launchers, because the C API chooses the plan
// itself.
#include <gtest/gtest.h>

#include <algorithm>

#include "backend/cuda/arguments.h"
#include "backend/cuda/gpu/answers.h"
#include "backend/cuda/gpu/device_case.h"
#include "backend/cuda/gpu/shapes.h"
#include "backend/cuda/kernels/launchers_sm90a.h"

namespace awq::backend::cuda::testing {
namespace {

struct PipelineKernels {
  std::string_view row;
  std::span<const PipelineTile> tiles;
  cudaError_t (*f16)(const LinearArgs&, const PipelinePlan&);
  cudaError_t (*bf16)(const LinearArgs&, const PipelinePlan&);
};
const PipelineKernels kGemv{"gemv_w4a16_bulk_sm90a", kIntegerTiles, launch_gemv_w4a16_sm90a_f16,
                            launch_gemv_w4a16_sm90a_bf16};
const PipelineKernels kGemm{"gemm_w4a16_wgmma_sm90a", kScaledTiles, launch_gemm_w4a16_sm90a_f16,
                            launch_gemm_w4a16_sm90a_bf16};

// 4 tiles, or 8 of half row blocks, of 5 stages. A split grid of 3 has blocks that end within a tile, 7 tiles of
// several owners' shares and blocks in the middle of one, 20 a block for each stage; of 1 nobody shares. After a round
// of three the fourth tile is split. Clusters divide neither the stages nor, but for two, the warps.
constexpr PipelinePlan kPlans[] = {{.grid = 1},
                                   {.grid = 3},
                                   {.grid = 4},
                                   {.split = true, .grid = 1},
                                   {.split = true, .grid = 3},
                                   {.split = true, .grid = 7},
                                   {.split = true, .rounds = 1, .grid = 3},
                                   {.split = true, .rounds = 3, .grid = 1},
                                   {.split = true, .grid = 20}};
constexpr int kClusters[] = {2, 3, 5};
constexpr int kMostBlocks = 20;

// Two tiles of rows (of half row blocks four) and two of tokens, the last of each ragged, and k that ends within a
// stage where the group may.
Shape shape_of(const PipelineTile& tile, int group) {
  const int64_t k = tile.parts() == 2 ? 1152 : group == 128 ? 640 : 576;
  return {tile.tokens + 3, tile.parts() * tile.rows + 72, k, group};
}

// A problem on the GPU, to be run with one plan after another.
class PlannedRun {
 public:
  PlannedRun(const Case& c, awq_cuda_type type, const PipelineTile& tile)
      : linear_(c),
        x_(std::span<const uint16_t>(x_bits(c, type))),
        y_(static_cast<size_t>(c.shape.m * c.shape.n) * sizeof(uint16_t)),
        workspace_(kFlagBytes + static_cast<size_t>(kMostBlocks) * tile.rows * tile.tokens * sizeof(float)) {
    const awq_cuda_linear view = linear_.view();
    args_.layout = checked_layout(&view);
    args_.m = c.shape.m;
    args_.bf16 = type == AWQ_CUDA_BF16;
    args_.x = x_.data();
    args_.y = y_.data();
    args_.qweight = view.qweight;
    args_.scales = view.scales;
    args_.zeros = view.zeros;
    args_.bias = view.bias;
    args_.salient = {view.salient_count, view.salient_index, view.salient_delta};
    args_.workspace = workspace_.data();
    args_.workspace_bytes = workspace_.bytes();
  }
  // Twice without a pause: the second starts while the first ends, and finds its flags.
  std::vector<uint16_t> run(const PipelineKernels& kernels, const PipelinePlan& plan) {
    y_.poison();
    workspace_.poison();
    for (int i = 0; i < 2; ++i) require((args_.bf16 ? kernels.bf16 : kernels.f16)(args_, plan));
    require(cudaDeviceSynchronize());
    EXPECT_TRUE(y_.guards_intact()) << "written outside y";
    EXPECT_TRUE(workspace_.guards_intact()) << "written outside the workspace";
    return y_.download<uint16_t>();
  }

 private:
  DeviceLinear linear_;
  DeviceMemory x_, y_, workspace_;
  LinearArgs args_;
};

class EveryPlan : public ::testing::TestWithParam<awq_cuda_type> {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
    int major = 0, minor = 0;
    require(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
    require(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0));
    if (10 * major + minor != 90) GTEST_SKIP() << "wgmma needs compute capability 9.0";
  }

  // Calls `check(case_of(shape), y)` with each plan's y.
  template <class CaseOf, class Check>
  void for_every_plan(const PipelineKernels& kernels, const CaseOf& case_of, const Check& check) {
    for (size_t tile = 0; tile < kernels.tiles.size(); ++tile) {
      int runs = 0;
      for (const int group : {32, 64, 128, 576}) {
        const Case c = case_of(shape_of(kernels.tiles[tile], group));
        const TileLayout layout{.n = c.shape.n, .k = c.shape.k, .group = static_cast<int>(c.shape.group)};
        if (!fits(kernels.tiles[tile], GetParam() == AWQ_CUDA_BF16, groups_of_stage(layout)) ||
            !takes_group(kernels.tiles[tile], layout))
          continue;
        const auto expect = check(kernels, c);
        PlannedRun planned(c, GetParam(), kernels.tiles[tile]);
        const auto run = [&](PipelinePlan plan) {
          plan.tile = static_cast<int>(tile);
          SCOPED_TRACE(to_string(c.shape) + (plan.split ? " split, grid " : " whole, grid ") +
                       std::to_string(plan.grid) + ", clusters of " + std::to_string(plan.cluster));
          expect(planned.run(kernels, plan));
          ++runs;
        };
        for (const PipelinePlan& plan : kPlans) run(plan);
        if (takes_clusters(kernels.tiles[tile]))
          for (const int blocks : kClusters)
            run({.cluster = blocks,
                 .grid = blocks * 2 * static_cast<int>(row_tiles(c.shape.n, kernels.tiles[tile].rows))});
      }
      const bool some = GetParam() == AWQ_CUDA_F16 || kernels.tiles[tile].rows % 64 == 0;
      EXPECT_EQ(runs > 0, some) << "tile " << tile;
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Cuda, EveryPlan, ::testing::Values(AWQ_CUDA_F16, AWQ_CUDA_BF16),
                         [](const auto& type) { return type.param == AWQ_CUDA_F16 ? "f16" : "bf16"; });

TEST_P(EveryPlan, IsBitExactWhenNothingRounds) {
  for (const PipelineKernels* kernels : {&kGemv, &kGemm})
    for_every_plan(
        *kernels, [](const Shape& shape) { return exact_case(shape); },
        [&](const PipelineKernels&, const Case& c) {
          return [&c, type = GetParam(), answers = solve(c, GetParam(), Weights::kExact)](
                     const std::vector<uint16_t>& y) { expect_equal(y, answers, c, type); };
        });
}

TEST_P(EveryPlan, RoundsNoMoreThanFloat32Must) {
  for (const PipelineKernels* kernels : {&kGemv, &kGemm})
    for_every_plan(
        *kernels, [&](const Shape& shape) { return random_case(shape, Zeros::kAny, GetParam()); },
        [&](const PipelineKernels& k, const Case& c) {
          const Weights weights = weights_of(k.row, GetParam(), c.shape.group);
          return [&c, weights, type = GetParam(), answers = solve(c, GetParam(), weights)](
                     const std::vector<uint16_t>& y) { expect_near(y, answers, c, type, weights); };
        });
}

}  // namespace
}  // namespace awq::backend::cuda::testing
