// gemv_w4a16_mma -- y[m][n] = sum_k x[m][k] * s[n][g] * (q[n][k] - z[n][g]) + bias,  g = k / group,  for m <= 8.
//
// Weights are the 16-wide side of mma.m16n8k16 and tokens its 8-wide side: with the sides the other way round, m = 1
// would use a sixteenth of the tensor cores and the dequantized weights would have to be exchanged between lanes. A
// lane's 16-byte load (tile_layout.h) is its operand A for four instructions.
//
//   block   kTiles fragment tiles of 16 rows, all of k
//   warp    units of 128 k: unit w, w + kWarps, ...; it holds the loads of kDepth units in flight in registers
//   then    the warps' sums are added in shared memory in warp order
//
// The group's scale multiplies the float sum of a unit, so weights enter the product as integers and nothing is rounded
// before float. Weights, scales and zero points do not depend on the previous kernel: their loads start before
// wait_for_previous_kernel() (9.0), so back-to-back linears keep the memory busy through the launch gap.
//
// Roofline, n = k = 4096, group 128: q 8.39 + s 0.26 + z 0.07 MB = 8.72 MB; an H200 reads 4.31 TB/s: 2.02 us.
// Instructions: about 50 a warp and 512 B (9 a word of 8 weights to dequantize); at 4.31 TB/s that is 45 % of the issue
// slots.
// Measured on one H200: 4.06 us on 4096 x 4096 (m = 1), best of all kernels while every block runs at once (n / 32 up
// to the SMs, twice that with blocks of 8 warps); larger matrices stream better through pipeline_sm90a.cuh.
#pragma once
#include "backend/cuda/kernels/chunk_groups.cuh"
#include "backend/cuda/kernels/epilogue.cuh"
#include "backend/cuda/kernels/fragments.cuh"
#include "backend/cuda/linear_launch.h"

namespace awq::backend::cuda {

struct GemvParams {
  const uint4* qweight;
  const uint32_t* scales;  // pairs (row g, row g + 8)
  const uint8_t* zeros;
  int m, k;
  int chunks;              // of 64 k, padded
  int groups;              // stored a row
  uint32_t unit_to_group;  // chunk_groups.cuh
};

constexpr int kUnitK = 128;
constexpr int kXPitch = kUnitK * 2 + 16;  // bytes; 16 over, so that eight rows of ldmatrix fall into different banks

template <int kWarps_, int kTiles_, int kDepth_, int kSlots_, int kMinBlocks_>
struct GemvShape {
  static constexpr int kWarps = kWarps_, kTiles = kTiles_, kDepth = kDepth_, kSlots = kSlots_, kMinBlocks = kMinBlocks_;
  static constexpr int kThreads = 32 * kWarps, kRows = 16 * kTiles, kPitch = kRows + 4;
  // The x ring of every warp, later the warps' sums.
  static size_t smem(int m) {
    const size_t x = size_t(kWarps) * kSlots * m * kXPitch, sums = size_t(kWarps) * 8 * kPitch * 4;
    return x > sums ? x : sums;
  }
};

// Weights of one unit: kTiles x 2 chunks of 64 k, with the scales and zero points of kGroups groups.
template <int kTiles, int kGroups>
struct Unit {
  uint4 w[kTiles][2];
  uint32_t s[kTiles][kGroups], z[kTiles][kGroups];

  __device__ __forceinline__ void load(const GemvParams& p, int row_tile, int unit, int lane) {
    const int64_t tile = (int64_t(row_tile / 4) * p.chunks + 2 * unit) * 4 + row_tile % 4;
    const int g = first_group_of<kGroups>(unit, p.unit_to_group, p.groups);
    const int64_t scale_tile = (int64_t(row_tile / 4) * p.groups + g) * 4 + row_tile % 4;
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      w[i][0] = load_streaming(p.qweight + (tile + i) * 32 + lane);
      w[i][1] = load_streaming(p.qweight + (tile + i + 4) * 32 + lane);
#pragma unroll
      for (int j = 0; j < kGroups; ++j) {
        s[i][j] = __ldg(p.scales + (scale_tile + i + 4 * j) * 8 + lane / 4);
        z[i][j] = __ldg(p.zeros + (scale_tile + i + 4 * j) * 8 + lane / 4);
      }
    }
  }
};

template <class T, class Shape, int kGroups>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kMinBlocks)
    gemv_w4a16_mma(const __grid_constant__ GemvParams p, const __grid_constant__ Epilogue<T> epilogue) {
  const T* __restrict__ x = epilogue.x;
  constexpr int kTokens = 8;
  constexpr int kTiles = Shape::kTiles, kWarps = Shape::kWarps, kDepth = Shape::kDepth, kSlots = Shape::kSlots;
  extern __shared__ __align__(16) unsigned char smem[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int row_tile = blockIdx.x * kTiles, units = p.chunks / 2;  // of 128 k
  allow_next_kernel();

  Unit<kTiles, kGroups> ring[kDepth];
#pragma unroll
  for (int d = 0; d < kDepth; ++d)
    if (const int u = warp + d * kWarps; u < units) ring[d].load(p, row_tile, u, lane);
  wait_for_previous_kernel();

  const uint32_t x_ring = smem_address(smem) + warp * kSlots * p.m * kXPitch;
  const auto fetch_x = [&](int slot, int u) {
    if (u < units)
      for (int piece = lane; piece < p.m * 16; piece += 32) {
        const int token = piece / 16, col = u * kUnitK + piece % 16 * 8;
        copy16(x_ring + (slot * p.m + token) * kXPitch + piece % 16 * 16, x + int64_t(token) * p.k + min(col, p.k - 8),
               col < p.k ? 16 : 0);
      }
    copy_commit();
  };
#pragma unroll
  for (int s = 0; s < kSlots; ++s) fetch_x(s, warp + s * kWarps);

  float sum[kTiles][4] = {};
  // Tokens past m share the last one's row: their columns of the result are not stored.
  const int matrix_k = lane / 8 * 16;  // bytes
  const uint32_t x_row = min(lane % 8, p.m - 1) * kXPitch + matrix_k;

  const auto multiply = [&](const Unit<kTiles, kGroups>& unit, int slot) {
    const uint32_t base = x_ring + slot * p.m * kXPitch;
    float part[kTiles][4];
#pragma unroll
    for (int chunk = 0; chunk < 2; ++chunk) {
      uint32_t b[2][4];
      ldmatrix4(b[0], base + x_row + chunk * 128);
      ldmatrix4(b[1], base + x_row + chunk * 128 + 64);
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        const uint32_t words[4] = {unit.w[tile][chunk].x, unit.w[tile][chunk].y, unit.w[tile][chunk].z,
                                   unit.w[tile][chunk].w};
#pragma unroll
        for (int step = 0; step < 4; ++step) {
          constexpr int kSteps = 8 / kGroups;  // of 16 k, a group
          const int at = chunk * 4 + step, group = at / kSteps;
          if (at % kSteps == 0)
#pragma unroll
            for (int e = 0; e < 4; ++e) part[tile][e] = 0.f;
          uint32_t a[4];
          Dequantize<T>::word(words[step], Dequantize<T>::zeros(unit.z[tile][group]), a);
          mma<T>(part[tile], a, b[step / 2][step % 2 * 2], b[step / 2][step % 2 * 2 + 1]);
          if (at % kSteps == kSteps - 1) {
            const float2 scale = __half22float2(as_half2(unit.s[tile][group]));
#pragma unroll
            for (int e = 0; e < 4; ++e) sum[tile][e] += (e < 2 ? scale.x : scale.y) * part[tile][e];
          }
        }
      }
    }
  };

  int slot = 0;
  for (int u = warp; u < units; u += kDepth * kWarps) {
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      const int now = u + d * kWarps;
      if (now >= units) break;
      copy_wait<kSlots - 1>();
      __syncwarp();
      multiply(ring[d], slot);
      __syncwarp();
      if (const int later = now + kDepth * kWarps; later < units) ring[d].load(p, row_tile, later, lane);
      fetch_x(slot, now + kSlots * kWarps);
      slot = slot + 1 == kSlots ? 0 : slot + 1;
    }
  }
  copy_wait<0>();
  __syncthreads();

  // [warp][token][row]; the pitch of 4 over a multiple of 16 keeps a warp's 32 stores in 32 banks.
  float* sums = reinterpret_cast<float*>(smem);
  constexpr int kPitch = Shape::kPitch;
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int token = lane % 4 * 2 + e % 2, row = tile * 16 + lane / 4 + e / 2 * 8;
      sums[(warp * kTokens + token) * kPitch + row] = sum[tile][e];
    }
  __syncthreads();

  for (int i = threadIdx.x; i < p.m * Shape::kRows; i += Shape::kThreads) {
    const int token = i / Shape::kRows, row = i % Shape::kRows;
    float total = 0.f;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) total += sums[(w * kTokens + token) * kPitch + row];
    epilogue.store(row_tile * 16 + row, token, total);
  }
}

}  // namespace awq::backend::cuda
