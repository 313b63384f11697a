// Launchers of the Hopper kernel: few tokens (gemv) and many (gemm), one instance a tile, group and type.
#pragma once
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <type_traits>

#include "backend/cuda/kernels/kernel_sm90a.cuh"
#include "backend/cuda/kernels/launch_kernel.h"
#include "backend/cuda/kernels/pipeline_plan.h"

namespace awq::backend::cuda {

template <class T, class Shape>
cudaError_t launch_pipeline(const LinearArgs& a, const PipelinePlan& plan, int stages) {
  PipelineMaps maps;
  constexpr PipelineBoxes kBoxes{Shape::kTokens,      (3 - Shape::kXBoxes) * Shape::kParts,
                                 Shape::kRowBlocks,   Shape::kChunks,
                                 Shape::kStageGroups, Shape::kParts};
  if (const cudaError_t e = make_pipeline_maps(a, kBoxes, &maps); e != cudaSuccess) return e;
  if constexpr (Shape::kStaged)
    if (const cudaError_t e = make_output_map(a, kPieceTokens, &maps.y); e != cudaSuccess) return e;
  const int64_t token_blocks = (a.m + Shape::kTokens - 1) / Shape::kTokens;
  PipelineParams p{};
  p.token_blocks = static_cast<int>(token_blocks);
  p.tiles = static_cast<int>(row_tiles(a.layout.n, Shape::kRows) * token_blocks);
  p.split = plan.split;
  p.rounds = plan.split ? plan.rounds : (p.tiles + plan.grid - 1) / plan.grid;
  p.cluster = plan.cluster;
  p.units = static_cast<int>((a.layout.chunks() / 2 + Shape::kParts - 1) / Shape::kParts);
  p.groups = static_cast<int>(a.layout.groups());
  p.unit_to_group = unit_to_group(a.layout);
  p.stages = stages;
  p.flags = static_cast<uint64_t*>(a.workspace);
  p.partials = reinterpret_cast<float4*>(static_cast<unsigned char*>(a.workspace) + kFlagBytes);
  return launch_in_clusters(static_cast<unsigned>(plan.cluster), w4a16_sm90a<T, Shape>,
                            dim3(static_cast<unsigned>(plan.grid)), Shape::kThreads,
                            std::max(size_t(Shape::smem(stages, plan.cluster)), plan.least_smem), a.stream, true, p,
                            maps, make_epilogue<T>(a));
}

template <auto& kTiles, bool kFold, class T, int kGroups, size_t kIndex = 0>
cudaError_t launch_tile(const LinearArgs& a, const PipelinePlan& plan) {
  constexpr PipelineTile kTile = kTiles[kIndex];
  if constexpr (fits(kTile, !std::is_same_v<T, __half>, kGroups))
    if (plan.tile == int(kIndex))
      return launch_pipeline<T, PipelineShape<kTile.tokens, kTile.rows, kGroups, kFold && Raw<T>::kZeroLater>>(
          a, plan, kTile.stages);
  if constexpr (kIndex + 1 < std::size(kTiles)) return launch_tile<kTiles, kFold, T, kGroups, kIndex + 1>(a, plan);
  return cudaErrorInvalidValue;
}

// kGroups: groups in a stage of 128 k.
template <auto& kTiles, bool kFold, class T>
cudaError_t launch_groups(const LinearArgs& a, const PipelinePlan& plan) {
  switch (groups_of_stage(a.layout)) {
    case 1: return launch_tile<kTiles, kFold, T, 1>(a, plan);
    case 2: return launch_tile<kTiles, kFold, T, 2>(a, plan);
    default: return launch_tile<kTiles, kFold, T, 4>(a, plan);
  }
}

}  // namespace awq::backend::cuda
