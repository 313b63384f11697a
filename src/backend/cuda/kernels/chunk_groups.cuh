// The quantization groups of a chunk of 64 input features, without a division.
#pragma once
#include "backend/cuda/tile_layout.h"

namespace awq::backend::cuda {

inline constexpr int kMaxChunks = 46340;  // k < 2.9 million: see `reciprocal`

struct ChunkGroups {
  uint32_t reciprocal;  // ceil(2^31 / chunks a group): exact while chunks^2 < 2^31
  bool two;             // groups of 32: a chunk has two

  __device__ int of(int chunk) const { return two ? 2 * chunk : static_cast<int>(__umulhi(2u * chunk, reciprocal)); }
  // Of 32 input features; half is 0 or 1.
  __device__ int of(int chunk, int half) const { return of(chunk) + (two ? half : 0); }
};

inline ChunkGroups make_chunk_groups(const TileLayout& layout) {
  const bool two = layout.group == 32 && layout.groups() > 1;
  const int64_t chunks = layout.groups() == 1 ? layout.chunks() : two ? 1 : layout.group / kTileK;
  return {static_cast<uint32_t>(((1ll << 31) + chunks - 1) / chunks), two};
}

}  // namespace awq::backend::cuda
