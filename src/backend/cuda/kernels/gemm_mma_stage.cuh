// How a stage of gemm_mma gets into shared memory (gemm_mma.cuh has the picture of a stage): where each thread copies
// from and to, and two ways of copying, for chips with cp.async and without.
#pragma once
#include <cstdint>

#include "backend/cuda/kernels/chunk_groups.cuh"
#include "backend/cuda/kernels/epilogue.cuh"
#include "backend/cuda/kernels/fragments.cuh"
#include "backend/cuda/kernels/gemm_mma_tiles.h"

namespace awq::backend::cuda {

template <class T>
struct GemmMmaArgs {
  Epilogue<T> out;
  const uint4* qweight;
  const uint2 *scales, *zeros;
  float4* partials;  // [splits][row_tiles][token_tiles][lane], null when k is not split
  ChunkGroups groups_of;
  int groups, chunks, row_tiles, token_tiles;
};

// cp.async: straight to shared memory. Of 16 bytes that are not valid zeros are written, of 8 nothing.
struct AsyncCopy {
  __device__ void copy16(int, void* to, const void* from, bool valid) const {
    cuda::copy16(smem_address(to), from, valid ? 16 : 0);
  }
  __device__ void copy8(int, void* to, const void* from, bool valid) const {
    if (valid) cuda::copy8(smem_address(to), from);
  }
};

// The same in two steps for chips without cp.async: fetch to registers, put into shared memory.
template <int kCopies16, int kCopies8>
struct HeldCopies {
  uint4 held16[kCopies16];
  uint2 held8[kCopies8];

  struct Fetch {
    HeldCopies& copies;
    __device__ void copy16(int i, void*, const void* from, bool valid) const {
      copies.held16[i] = valid ? *static_cast<const uint4*>(from) : uint4{};
    }
    __device__ void copy8(int i, void*, const void* from, bool valid) const {
      if (valid) copies.held8[i] = *static_cast<const uint2*>(from);
    }
  };
  struct Put {
    const HeldCopies& copies;
    __device__ void copy16(int i, void* to, const void*, bool) const { *static_cast<uint4*>(to) = copies.held16[i]; }
    __device__ void copy8(int i, void* to, const void*, bool valid) const {
      if (valid) *static_cast<uint2*>(to) = copies.held8[i];
    }
  };
};

// What a thread copies from global to shared memory for a stage, and where to: addresses are worked out once, then
// advanced, because their arithmetic would cost as many instructions as the product.
template <class T, MmaTile kTile>
struct StageCopies {
  static constexpr int kUnits = 8 * kTile.warps_k;                                     // 16-byte units of x, a token
  static constexpr int kPassTokens = kTile.threads() / kUnits;                         // tokens that all threads copy
  static constexpr int kPasses = kTile.tokens() / kPassTokens;                         // at once
  static constexpr int kX = kTile.weight_bytes(), kParameters = kX + kTile.x_bytes();  // offsets in a chunk
  static constexpr int kGroupBytes = MmaTile::kParameterBytes / 2;                     // 32 of scales, 8 of zero points
  static_assert(kPassTokens % 8 == 0 && kPasses * kPassTokens == kTile.tokens() && kTile.token_tiles % 2 == 0);

  const GemmMmaArgs<T>& p;
  const char *weights, *parameters;  // of this lane, at `chunk` and at group 0
  const T* x;                        // of this thread's first token, at `column`
  int chunk, column, tokens;         // tokens: valid ones from this thread's first on
  int piece;                         // of the 5 x 8 bytes of parameters of a tile and group; the 4 of scales come first
  int weights_to, parameters_to, x_to;  // offsets in a stage

  // first_tile: of the warp's row tiles; a warp beyond the last row copies, and multiplies, the last rows.
  __device__ StageCopies(const GemmMmaArgs<T>& args, int stage, int first_tile, int first_token) : p(args) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warp_m = warp % kTile.warps_m,
              warp_k = warp / kTile.warps_m, in_block = warp_m * kTile.row_tiles;
    const int tile = min(first_tile, p.row_tiles - kTile.row_tiles);
    chunk = stage * kTile.warps_k + warp_k;
    weights =
        reinterpret_cast<const char*>(p.qweight + ((int64_t{tile / 4} * p.chunks + chunk) * 4 + tile % 4) * 32 + lane);
    weights_to = warp_k * kTile.chunk_bytes() + in_block * kTileBytes + lane * 16;

    piece = lane % 8;  // lanes 0-7 copy a chunk's first group, 8-15 its second if it has one
    const int64_t group_tile = (int64_t{tile / 4} * p.groups + lane / 8) * 4 + tile % 4;
    parameters = reinterpret_cast<const char*>(is_scale() ? p.scales + group_tile * 4 + piece : p.zeros + group_tile);
    parameters_to = warp_k * kTile.chunk_bytes() + kParameters + in_block * MmaTile::kParameterBytes +
                    lane / 8 * kGroupBytes + piece * 8;

    const int token = threadIdx.x / kUnits, unit = threadIdx.x % kUnits;
    column = stage * kTile.warps_k * kTileK + unit * 8;
    tokens = static_cast<int>(min(p.out.m - first_token - token, int64_t{kTile.tokens()}));
    x = p.out.x + (int64_t{first_token} + token) * p.out.k + column;
    x_to = unit / 8 * kTile.chunk_bytes() + kX + token * 128 + (unit ^ token) % 8 * 16;
  }

  __device__ bool is_scale() const { return piece < 4; }

  template <class Visit>
  __device__ void each(char* slot, Visit visit) const {
    if (chunk < p.chunks) each_of_chunk(slot, visit);
#pragma unroll
    for (int i = 0; i < kPasses; ++i)
      visit.copy16(kTile.row_tiles + i, slot + x_to + i * kPassTokens * 128, x + i * kPassTokens * p.out.k,
                   i * kPassTokens < tokens && column < p.out.k);
  }

  template <class Visit>
  __device__ void each_of_chunk(char* slot, Visit visit) const {
    const bool has_piece = piece < 5 && threadIdx.x % 32 < (p.groups_of.two ? 16 : 8);
    const char* from = parameters + p.groups_of.of(chunk) * (is_scale() ? 4 * 32 : 4 * 8);  // 4 tiles of 64 rows
#pragma unroll
    for (int i = 0; i < kTile.row_tiles; ++i) {  // neighbours: row_tiles divides 4
      visit.copy16(i, slot + weights_to + i * kTileBytes, weights + i * kTileBytes, true);
      visit.copy8(i, slot + parameters_to + i * MmaTile::kParameterBytes, from + i * (is_scale() ? 32 : 8), has_piece);
    }
  }

  __device__ void advance() {
    chunk += kTile.warps_k;
    weights += kTile.warps_k * 4 * kTileBytes;
    column += kTile.warps_k * kTileK;
    x += kTile.warps_k * kTileK;
  }
};

}  // namespace awq::backend::cuda
