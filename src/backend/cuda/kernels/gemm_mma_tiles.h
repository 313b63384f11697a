// Which part of the product a block of gemm_mma computes, and the written cost model that chooses it.
#pragma once
#include <cstdint>

#include "backend/cuda/linear_launch.h"

namespace awq::backend::cuda {

// A block computes rows() output features x tokens() tokens. Its warps stand in warps_m x warps_k: those of one row of
// warps share row_tiles x 16 output features and take turns along k; each warp computes all tokens of the block, so
// that a weight is dequantized once a block.
struct MmaTile {
  int warps_m, warps_k;
  int row_tiles;    // of 16 rows, a warp
  int token_tiles;  // of 8 tokens
  int stages;       // of the ring in shared memory; a stage is 64 * warps_k input features
  int resident;     // blocks that share an SM, as far as registers allow: what the compiler is held to

  AWQ_HD constexpr int threads() const { return 32 * warps_m * warps_k; }
  AWQ_HD constexpr int rows() const { return kTileRows * row_tiles * warps_m; }
  AWQ_HD constexpr int tokens() const { return 8 * token_tiles; }
  AWQ_HD constexpr int tiles() const { return row_tiles * warps_m; }
  // Shared memory of a stage, for each of warps_k chunks of 64 input features: [weights | x | scales and zero points].
  AWQ_HD constexpr int weight_bytes() const { return tiles() * kTileBytes; }
  AWQ_HD constexpr int x_bytes() const { return tokens() * kTileK * 2; }
  AWQ_HD constexpr int parameter_bytes() const { return tiles() * kParameterBytes; }
  AWQ_HD constexpr int chunk_bytes() const { return weight_bytes() + x_bytes() + parameter_bytes(); }
  AWQ_HD constexpr int stage_bytes() const { return warps_k * chunk_bytes(); }
  AWQ_HD constexpr int smem_bytes() const { return stages * stage_bytes(); }

  static constexpr int kParameterBytes = 80;  // of a tile and chunk: two groups x (32 B of scales + 8 B of zero points)
};

// clang-format off
inline constexpr MmaTile kMmaTilesSm80[] = {
    // warps_m, warps_k, row_tiles, token_tiles, stages, resident
    {4, 4, 1, 2, 4, 2},  //  64 x 16
    {4, 4, 1, 4, 3, 1},  //  64 x 32
    {4, 2, 1, 8, 3, 2},  //  64 x 64
    {4, 1, 2, 4, 4, 3},  // 128 x 32
    {4, 1, 2, 8, 3, 2},  // 128 x 64
    {8, 1, 2, 8, 4, 1},  // 256 x 64
};
// Two stages: the next one waits in registers while this one is multiplied. 7.5 has 64 KB of shared memory.
inline constexpr MmaTile kMmaTilesSm75[] = {
    {4, 2, 1, 2, 2, 3},  //  64 x 16
    {4, 2, 1, 4, 2, 2},  //  64 x 32
    {4, 2, 1, 8, 2, 1},  //  64 x 64
    {4, 1, 2, 8, 2, 2},  // 128 x 64
    {8, 1, 2, 8, 2, 1},  // 256 x 64
};
// clang-format on

struct MmaPlan {
  int tile = 0;    // index into the chip's table
  int splits = 1;  // parts of k computed by different blocks and added by a second kernel
};

// Cheapest plan by the cost model; `tiles` is one of the tables above.
MmaPlan plan_gemm_mma(const MmaTile* tiles, int count, const TileLayout& layout, int64_t m, const Gpu& gpu);

}  // namespace awq::backend::cuda
