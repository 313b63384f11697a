// Where the 32 codes of a lane's 16 bytes stand in the matrix: the inverse of TileLayout::word and ::nibble. For the
// kernels that make or take the layout apart; those that multiply need only the order of tiles.
#pragma once
#include "backend/cuda/tile_layout.h"

namespace awq::backend::cuda {

inline constexpr int kLaneWords = 4;  // one a step of 16 input features
inline constexpr int kWordCodes = 8;

struct Place {
  int64_t row, col;
};

// Nibble 0 of word 0 of lane `index`, counted through the whole matrix: 32 lanes a tile. Divides in 32 bits, because a
// 64-bit division is a subroutine of a hundred instructions that makes its caller spill: 2^32 tiles would be 2 TB.
__device__ inline Place lane_place(const TileLayout& layout, int64_t index) {
  const uint32_t tile = static_cast<uint32_t>(index / 32), lane = index % 32, block = tile / 4;
  const uint32_t chunks = static_cast<uint32_t>(layout.chunks()), row_tile = block / chunks * 4 + tile % 4;
  return {int64_t{row_tile} * kTileRows + lane / 4, int64_t{block % chunks} * kTileK + lane % 4 * 2};
}
// Nibble i of word `step`, from nibble 0 of word 0.
__device__ inline Place nibble_place(const Place& first, int step, int i) {
  return {first.row + i % 2 * 8, first.col + 16 * step + i / 2 % 2 * 8 + i / 4};
}
__host__ __device__ inline int64_t lane_count(const TileLayout& layout) {
  return layout.row_tiles() * layout.chunks() * 32;
}

// Rows r and r + 8 of a tile share a byte of zero points and a pair of scales; pair `index` is theirs in both arrays.
struct PairPlace {
  int64_t row, group;  // the lower row
};
__device__ inline PairPlace pair_place(const TileLayout& layout, int64_t index) {
  const uint32_t tile = static_cast<uint32_t>(index / 8), block = tile / 4;
  const uint32_t groups = static_cast<uint32_t>(layout.groups());
  return {int64_t{block / groups} * kRowBlock + tile % 4 * kTileRows + index % 8, block % groups};
}
__host__ __device__ inline int64_t pair_count(const TileLayout& layout) {
  return layout.row_tiles() * layout.groups() * 8;
}

__device__ inline int nibble(uint32_t word, int i) { return static_cast<int>(word >> (4 * i) & 15); }

}  // namespace awq::backend::cuda
