// dequantize -- w[n][k] = T(s[n][g] * (q[n][k] - z[n][g])),  g = k / group: the tile layout back to a row-major matrix.
//
// One warp a tile (16 rows x 64 k). A lane loads its 16 bytes (bit diagram: tile_layout.h) and so holds, for two rows,
// eight pairs of neighbouring k: chunk c of 8 k lies in the four lanes of a quad, a pair each.
//
//   lane t of a quad   before   pair t of chunks 0 .. 7       two 4 x 4 transposes by shuffle
//                      after    all of chunks t and t + 4     so that a lane stores 16 bytes, a quad 64 in one piece
//
// The difference is exact, its product with the scale fits float32 (5 + 11 bits), so w is rounded once.
//
// Roofline, n = k = 4096, group 128, f16: 8.7 MB in, 33.6 MB out: 9.8 us at 4.31 TB/s (H200). 16 shuffles a tile and
// lane are 1.1 us of it on 132 SMs: the bound is memory.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "backend/cuda/kernels/epilogue.cuh"
#include "backend/cuda/kernels/tile_lane.cuh"
#include "backend/cuda/weights_launch.h"

namespace awq::backend::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr uint32_t kAllLanes = 0xffffffffu;

// v[i] of lane t becomes v[t] of lane i, among the four lanes of a quad.
__device__ void transpose_in_quad(uint32_t (&v)[4]) {
  const int t = threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {  // 2 x 2 blocks
    const uint32_t got = __shfl_xor_sync(kAllLanes, t & 1 ? v[i] : v[i + 1], 1);
    (t & 1 ? v[i] : v[i + 1]) = got;
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {  // blocks of two
    const uint32_t got = __shfl_xor_sync(kAllLanes, t & 2 ? v[i] : v[i + 2], 2);
    (t & 2 ? v[i] : v[i + 2]) = got;
  }
}

// 2^23 + code is a float whose last bit is 1: a code becomes a float by one OR and one exact subtraction.
constexpr uint32_t kMagicBits = 0x4b000000;
__device__ float with_magic(int code) { return __uint_as_float(kMagicBits | code); }

struct RowScale {
  float scale, magic_zero;  // 2^23 + z
  __device__ float operator()(int code) const { return (with_magic(code) - magic_zero) * scale; }
};

// Of the lane's lower (half = 0) or upper row in group g.
__device__ RowScale row_scale(const TileLayout& layout, const __half* scales, const uint8_t* zeros, int64_t row,
                              int half, int64_t g) {
  return {__half2float(scales[layout.scale(row, g) + half]),
          with_magic(zeros[layout.zero_byte(row, g)] >> (4 * half) & 15)};
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    dequantize_tiles(const uint4* q, const __half* scales, const uint8_t* zeros, TileLayout from, T* w) {
  const int64_t tile = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (tile >= from.row_tiles() * from.chunks()) return;  // whole warps: the shuffles below have all lanes
  const int64_t index = tile * 32 + threadIdx.x % 32;
  const Place first = lane_place(from, index);
  const uint4 loaded = q[index];
  const uint32_t words[kLaneWords] = {loaded.x, loaded.y, loaded.z, loaded.w};
  const int t = threadIdx.x % 4;
  const int chunk = static_cast<int>(first.col) - 2 * t, last_group = static_cast<int>(from.groups()) - 1;
#pragma unroll
  for (int half = 0; half < 2; ++half)
#pragma unroll
    for (int part = 0; part < 2; ++part) {  // 32 k: never more than one group
      const int g = min((chunk + 32 * part) / from.group, last_group);
      const RowScale value = row_scale(from, scales, zeros, first.row, half, g);
      uint32_t pairs[4];
#pragma unroll
      for (int c = 0; c < 4; ++c) {  // chunk of 8 k: step c / 2, its lower or upper 8
        const uint32_t word = words[2 * part + c / 2];
        const int i = c % 2 * 2 + half;
        pairs[c] = pack_pair<T>(value(nibble(word, i)), value(nibble(word, i + 4)));
      }
      transpose_in_quad(pairs);
      const int64_t row = first.row + 8 * half, col = chunk + 32 * part + 8 * t;
      if (row < from.n && col < from.k)
        *reinterpret_cast<uint4*>(w + row * from.k + col) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
    }
}

template <class T>
cudaError_t dequantize_to(const TileArrays& from, void* w, cudaStream_t stream) {
  const int64_t tiles = from.layout.row_tiles() * from.layout.chunks();
  dequantize_tiles<<<static_cast<unsigned>((tiles + kWarps - 1) / kWarps), kThreads, 0, stream>>>(
      static_cast<const uint4*>(from.qweight), static_cast<const __half*>(from.scales),
      static_cast<const uint8_t*>(from.zeros), from.layout, static_cast<T*>(w));
  return cudaGetLastError();
}

}  // namespace

cudaError_t dequantize(const TileArrays& from, bool bf16, void* w, cudaStream_t stream) {
  return bf16 ? dequantize_to<__nv_bfloat16>(from, w, stream) : dequantize_to<__half>(from, w, stream);
}

}  // namespace awq::backend::cuda
