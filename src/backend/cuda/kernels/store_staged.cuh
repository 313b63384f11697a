// A finished tile of many tokens goes to y through shared memory: stmatrix transposes it, tensor maps store it while
// the next tile is multiplied.
//
//   piece          64 rows of the weights x 128 tokens, as [token][128 bytes] with the 128-byte swizzle: a 16-byte
//                  unit of eight tokens lies in different banks
//   a warpgroup    stores its own rows and waits for no other
//
// Stores from registers, 16 bytes to each of eight tokens an instruction, left the tensor cores idle for 4 us a tile
// (128 tokens x 256 rows; one H200).
#pragma once
#include "backend/cuda/kernels/epilogue.cuh"
#include "backend/cuda/kernels/pipeline_sm90a.cuh"

namespace awq::backend::cuda {

__device__ __forceinline__ void warpgroup_sync(int group) {  // barrier 1 is that of all consumers
  asm volatile("bar.sync %0, 128;" ::"r"(2 + group) : "memory");
}
__device__ __forceinline__ bool orders_stores() { return threadIdx.x % 128 == 0; }

// Until the last tile has left shared memory.
__device__ __forceinline__ void wait_for_staged() {
  if (orders_stores()) stores_wait();
}

// A warp's 16 rows of a piece, rounded; acc as in Epilogue::store_fragments(). A lane addresses one row of the four
// matrices an instruction: token lane % 8 of the first or second eight, rows 0 .. 7 or 8 .. 15.
template <class T>
__device__ __forceinline__ void stage_rows(uint32_t piece, int warp, const float (*acc)[4]) {
  const int lane = threadIdx.x % 32, unit = (warp % 4 * 2 + lane / 8 % 2) ^ lane % 8;
  const uint32_t to = piece + (lane / 16 * 8 + lane % 8) * 128 + unit * 16;
#pragma unroll
  for (int j = 0; j < kPieceTokens / 8; j += 2) {
    uint32_t rounded[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) rounded[i] = pack_pair<T>(acc[j + i / 2][i % 2 * 2], acc[j + i / 2][i % 2 * 2 + 1]);
    stmatrix4_transposed(to + j * 1024, rounded);
  }
}
// Of gate and up (Epilogue::store_gated()): [token][64 bytes] with the 64-byte swizzle, a matrix for eight tokens.
template <class T>
__device__ __forceinline__ void stage_gated(uint32_t piece, int warp, const float (*acc)[4]) {
  const int lane = threadIdx.x % 32;
  const uint32_t to = piece + lane * 64 + (warp % 4 ^ lane / 2 % 4) * 16;
#pragma unroll
  for (int j = 0; j < kPieceTokens / 8; j += 4) {
    uint32_t rounded[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float(&a)[4] = acc[j + i];
      rounded[i] = pack_pair<T>(silu_times(a[0], a[2]), silu_times(a[1], a[3]));
    }
    stmatrix4_transposed(to + j * 512, rounded);
  }
}

// Row blocks from `block0` are this warpgroup's: sums of rows 64 b + 16 (warp % 4) .. + 15 in this warp.
template <class Shape, class T, int kValues>
__device__ __forceinline__ void store_staged(const Epilogue<T>& epilogue, uint32_t staging, const CUtensorMap* y,
                                             int block0, int token0, float (&sum)[Shape::kBlocks][kValues], int warp) {
  constexpr int kTiles = Shape::kTokens / 8, kPieces = Shape::kTokens / kPieceTokens;  // of a row block
  const int group = warp / 4;
  uint32_t piece = staging + group * Shape::kBlocks * kPieces * kPieceBytes;
  wait_for_staged();
  warpgroup_sync(group);
#pragma unroll
  for (int b = 0; b < Shape::kBlocks; ++b) {
    auto& acc = reinterpret_cast<float(&)[kTiles][4]>(sum[b]);
    epilogue.finish_fragments((block0 + b) * 64 + warp % 4 * 16, token0, acc);
#pragma unroll
    for (int i = 0; i < kPieces; ++i, piece += kPieceBytes) {
      const auto of_piece = acc + i * kPieceTokens / 8;
      epilogue.gated ? stage_gated<T>(piece, warp, of_piece) : stage_rows<T>(piece, warp, of_piece);
      show_to_stores();
      warpgroup_sync(group);
      if (!orders_stores()) continue;
      tensor_store(piece, y, (block0 + b) * (epilogue.gated ? 32 : 64), token0 + i * kPieceTokens, 0);
      stores_commit();
    }
  }
}

}  // namespace awq::backend::cuda
