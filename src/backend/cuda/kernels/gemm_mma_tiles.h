// Which part of the product a block of gemm_mma computes, and the written cost model that chooses it.
#pragma once
#include <cstdint>
#include <span>

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

// What 64 input features cost an SM, in cycles. Fitted to 66 launches on an H200, at 1.755 GHz, 38 of the kernels
// for 8.0 and 28 of those for 7.5: n x k of 4096 x 4096, 28672 x 4096 and 4096 x 14336, group 128, m from 1 to 2048.
// The model, with 3.8 and 3.0 us a launch, is off by 2 % and 1 % in the median, by 14 % (8.0, 64 x 64) and 6 % at
// worst. In 39 of the 46 cells it chooses the best of up to 36 plans that were measured, in the others one that was
// not, by its own estimate at most 6 % slower.
struct MmaCosts {
  double warp, row_tile, token_tile;  // issuing instructions: of a warp, of each of its row tiles, of each token tile
                                      // of those
  double latency, tile_latency;       // a stage takes at least this long, and longer by each row x token tile of a warp
  double block;                       // from launch to the first product, and from the last to the end
  double second_kernel;               // launch of add_splits
  double partial_bytes_per_cycle;     // written and read again, an SM
};
inline constexpr MmaCosts kMmaCostsSm80 = {39, 22, 8.5, 850, 47, 1100, 1200, 64};
inline constexpr MmaCosts kMmaCostsSm75 = {45, 23.5, 11.4, 815, 76, 940, 1200, 25};

struct MmaPlan {
  int tile = 0;    // index into the chip's table
  int splits = 1;  // parts of k computed by different blocks and added by a second kernel
};

// Cheapest plan by the cost model; tiles and costs are of one chip.
MmaPlan plan_gemm_mma(std::span<const MmaTile> tiles, const MmaCosts& costs, const TileLayout& layout, int64_t m,
                      const Gpu& gpu);

}  // namespace awq::backend::cuda
