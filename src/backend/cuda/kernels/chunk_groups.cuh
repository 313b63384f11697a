// The quantization groups of a chunk of 64 input features, or of a unit of 128, without a division.
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

// Of 128 input features: ceil(2^31 / units a group), 2^31 where a unit has a group of its own or several ...
inline uint32_t unit_to_group(const TileLayout& layout) {
  const uint64_t units = layout.group >= kPadK ? static_cast<uint64_t>(layout.group / kPadK) : 1;
  return static_cast<uint32_t>(((uint64_t{1} << 31) + units - 1) / units);
}
// ... and with it the unit's one group, or the first of kInUnit; `groups` are stored a row.
template <int kInUnit>
__device__ __forceinline__ int first_group_of(int unit, uint32_t reciprocal, int groups) {
  return kInUnit > 1 ? unit * kInUnit : min(static_cast<int>(__umulhi(2 * unit, reciprocal)), groups - 1);
}

}  // namespace awq::backend::cuda
