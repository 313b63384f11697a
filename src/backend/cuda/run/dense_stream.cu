// dense_stream -- y[m][n] = sum_k x[m][k] w[n][k] + bias[n], w f16 (n, k) as in the checkpoint, for m <= 16, k % 64 ==
// 0.
//
// One block an SM for the whole product; x stays in its shared memory.
//
//   tile      16 rows, all of k; tile block, block + grid, then in turn, or as blocks ask for them (DenseArgs::ticket)
//   stage     16 rows x 512 k, one box of a tensor map: [chunk of 64 k][row][128 bytes], swizzled: 16-byte unit u of
//   row
//             r lies at u ^ (r % 8)
//   producer  one lane keeps the ring full: as much in flight as finds room beside x, 190 KB at m = 1
//   warp      chunk w of every stage, as operands of mma.m16n8k16 in the order of k that dense.cu explains
//   then      the warps' sums are added in warp order, while the next tile streams
//
// Roofline, lm_head of Llama-3-8B (128256 x 4096): 1.05 GB, 244 us at 4.31 TB/s. An SM's share is 33 bytes a ns: with
// 1 us of latency under load 33 KB must be in flight. Loads of 64 bytes a row into registers (dense.cu) reach 3.37
// TB/s.
#include <algorithm>

#include "backend/cuda/kernels/fragments.cuh"
#include "backend/cuda/kernels/launch_kernel.h"
#include "backend/cuda/kernels/tensor_maps.h"
#include "backend/cuda/kernels/wgmma.cuh"
#include "backend/cuda/run/block_sum.cuh"
#include "backend/cuda/run/dense_stream.h"
#include "backend/cuda/run/pick_token.h"
#include "backend/cuda/run/token_key.cuh"

namespace awq::backend::cuda {
namespace {

constexpr int kWarps = 8, kConsumers = 32 * kWarps, kThreads = kConsumers + 32, kRows = 16;
constexpr int kChunk = 64, kChunkBytes = kRows * kChunk * 2, kChunksAStage = 8, kStage = kChunksAStage * kChunkBytes;
static_assert(kFewDenseRows * kRows <= kConsumers);  // a thread a sum
constexpr int kMostStages = 12, kLeastStages = 3;
constexpr int kTilesAt = 2 * kMostStages * 8;  // after the barriers: of the stages
constexpr int kSumsAt = kTilesAt + 64;

struct Layout {  // bytes of shared memory
  int x_pitch, x_at, ring_at;

  AWQ_HD Layout(const DenseArgs& a)
      : x_pitch(static_cast<int>(a.k) * 2 + 64),  // 64 over, so that two rows fall into different banks
        x_at(kSumsAt + 2 * kWarps * (a.m <= 8 ? 8 : 16) * (kRows + 1) * 4),
        ring_at((x_at + static_cast<int>(a.m) * x_pitch + 1023) / 1024 * 1024) {}
};

int stages_beside(const DenseArgs& a, const LaunchTarget& on) {
  constexpr int64_t kMostX = 1 << 18;  // beyond, Layout's numbers could overflow
  if (a.m * a.k * 2 > kMostX) return 0;
  return std::min((on.smem_per_block - 1024 - Layout(a).ring_at) / kStage, kMostStages);
}

#if __CUDA_ARCH__ >= 900
constexpr uint32_t kNoTile = ~0u;

// Slot of the ring, and the parity of its barriers.
struct Slot {
  int slot = 0;
  uint32_t parity;
  __device__ __forceinline__ void advance(int stages) {
    if (++slot == stages) slot = 0, parity ^= 1;
  }
};

__device__ __forceinline__ void consumers_meet() { asm volatile("bar.sync 1, %0;" ::"n"(kConsumers) : "memory"); }

// The tile behind `tile`. Of all blocks together tiles - grid ask for a ticket, and the last one clears it. The first
// two tiles of a block are fixed: copying them need not wait until the kernel before has left the ticket alone.
__device__ __forceinline__ int tile_after(const DenseArgs& a, int tile, int tiles) {
  const int grid = static_cast<int>(gridDim.x);
  if (a.ticket == nullptr || tile < grid) return tile + grid;
  const int asked = atomicAdd(a.ticket, 1);
  if (asked == tiles - grid - 1) *a.ticket = 0;
  return 2 * grid + asked;
}

__device__ __forceinline__ void copy_x(const DenseArgs& a, uint32_t to, int pitch) {
  const int vectors = static_cast<int>(a.k / 8);
  for (int token = 0; token < a.m; ++token)
    for (int i = threadIdx.x; i < vectors; i += kConsumers)
      copy16(to + token * pitch + 16 * i, a.x + token * a.k + 8 * i, 16);
  copy_commit();
  copy_wait<0>();
}

// The row of before into x. By itself this norm would be a launch of one block between the last block of the model and
// lm_head; here every block does all of it while its ring fills.
__device__ __forceinline__ void prefetch_norm(const UnnormedRow& row, int k) {
  for (int i = threadIdx.x * 32; i < k; i += kConsumers * 32)
    asm volatile("prefetch.global.L2 [%0];" ::"l"(row.weight + i));
}
__device__ __forceinline__ void norm_x(const UnnormedRow& row, int k, unsigned char* x, float* of_warp) {
  const auto* const hidden = reinterpret_cast<const float4*>(row.hidden);
  const auto* const weight = reinterpret_cast<const float4*>(row.weight);
  float squares = 0.f;
#  pragma unroll 4
  for (int i = threadIdx.x; i < k / 4; i += kConsumers) {
    const float4 v = hidden[i];
    squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
  squares = warp_sum(squares);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = squares;
  consumers_meet();
  squares = 0.f;
  for (int w = 0; w < kWarps; ++w) squares += of_warp[w];
  const float scale = 1.f / sqrtf(squares / static_cast<float>(k) + row.eps);
#  pragma unroll 4
  for (int i = threadIdx.x; i < k / 4; i += kConsumers) {
    const float4 v = hidden[i], w = weight[i];
    reinterpret_cast<uint2*>(x)[i] = make_uint2(bits(__floats2half2_rn(v.x * scale * w.x, v.y * scale * w.y)),
                                                bits(__floats2half2_rn(v.z * scale * w.z, v.w * scale * w.w)));
  }
}

// 64 k: `w` and `x` are their first bytes in shared memory.
template <int kTiles>
__device__ __forceinline__ void multiply_chunk(uint32_t w, uint32_t x, int x_pitch, int m, int lane,
                                               float (&acc)[2][kTiles][4]) {
  const int g = lane / 4, t = lane % 4;
#  pragma unroll
  for (int half = 0; half < 2; ++half) {
    const uint32_t at = w + g * 128 + (((4 * half + t) ^ g) << 4);
    uint32_t upper[4], lower[4], tokens[kTiles][4] = {};
    load_shared16(upper, at);
    load_shared16(lower, at + 8 * 128);
#  pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
      if (8 * tile + g < m) load_shared16(tokens[tile], x + (8 * tile + g) * x_pitch + half * 64 + t * 16);
#  pragma unroll
    for (int step = 0; step < 2; ++step) {
      const uint32_t rows[4] = {upper[2 * step], lower[2 * step], upper[2 * step + 1], lower[2 * step + 1]};
#  pragma unroll
      for (int tile = 0; tile < kTiles; ++tile)
        mma<__half>(acc[half][tile], rows, tokens[tile][2 * step], tokens[tile][2 * step + 1]);
    }
  }
}

template <class Y>
__device__ __forceinline__ void store(const DenseArgs& a, int64_t row, int token, float sum) {
  auto* const to = static_cast<Y*>(a.y) + token * a.n + row;
  if constexpr (sizeof(Y) == 4)
    *to = sum;
  else
    *to = __float2half_rn(sum);
}

// Of what this block made of a token; places that no block has hold none.
__device__ __forceinline__ void leave_best(const DenseArgs& a, uint64_t best) {
#  pragma unroll
  for (int step = kRows / 2; step > 0; step /= 2) best = larger(best, __shfl_xor_sync(~0u, best, step));
  const int token = threadIdx.x / kRows;
  if (threadIdx.x % kRows != 0 || token >= a.m) return;
  for (int i = blockIdx.x; i < kPickBlocks; i += gridDim.x)
    a.best[int64_t{token} * kPickBlocks + i] = i == static_cast<int>(blockIdx.x) ? best : 0;
}
#endif

// kTiles: of 8 tokens.
template <int kTiles, class Y>
__global__ void __launch_bounds__(kThreads, 1)
    dense_stream(const __grid_constant__ DenseArgs a, const __grid_constant__ CUtensorMap map, int stages) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ __align__(1024) unsigned char smem[];
  const Layout layout(a);
  const uint32_t full = smem_address(smem), empty = full + 8 * kMostStages, xs = full + layout.x_at;
  const uint32_t ring = (full + layout.ring_at + 1023) / 1024 * 1024;
  auto* const tile_of = reinterpret_cast<uint32_t*>(smem + kTilesAt);
  const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
  const int tiles = static_cast<int>((a.n + kRows - 1) / kRows), chunks = static_cast<int>(a.k / kChunk);
  if (threadIdx.x == 0) {
    for (int s = 0; s < stages; ++s) barrier_init(full + 8 * s, 1), barrier_init(empty + 8 * s, kWarps);
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  allow_next_kernel();
  __syncthreads();

  if (warp == kWarps) {  // weights do not depend on the previous kernel
    if (!elect_one()) return;
    Slot at{0, 1};  // an untouched barrier counts as passed: the first round does not wait
    bool waited = false;
    for (int tile = blockIdx.x, next; tile < tiles; tile = next) {
      if (!waited && tile >= static_cast<int>(gridDim.x)) wait_for_previous_kernel(), waited = true;
      next = tile_after(a, tile, tiles);  // on its way while this one is copied
      for (int chunk = 0; chunk < chunks; chunk += kChunksAStage) {
        barrier_wait(empty + 8 * at.slot, at.parity);
        tile_of[at.slot] = tile;
        barrier_expect(full + 8 * at.slot, kStage);
        tensor_copy(ring + at.slot * kStage, &map, 0, tile * kRows, chunk, full + 8 * at.slot, kEvictFirst);
        at.advance(stages);
      }
    }
    barrier_wait(empty + 8 * at.slot, at.parity);
    tile_of[at.slot] = kNoTile;
    barrier_arrive(full + 8 * at.slot);
    return;
  }

  const bool unnormed = a.unnormed.hidden != nullptr;
  if (unnormed) prefetch_norm(a.unnormed, static_cast<int>(a.k));
  wait_for_previous_kernel();
  if (unnormed)
    norm_x(a.unnormed, static_cast<int>(a.k), smem + layout.x_at, reinterpret_cast<float*>(smem + kSumsAt));
  else
    copy_x(a, xs, layout.x_pitch);
  consumers_meet();
  auto* const sums = reinterpret_cast<float(*)[kWarps][8 * kTiles][kRows + 1]>(smem + kSumsAt);  // [2], in turns
  const int m = static_cast<int>(a.m);
  Slot at{0, 0};
  int turn = 0;
  uint64_t best = 0;  // of this thread's token and row of every tile
  for (;; turn ^= 1) {
    barrier_wait(full + 8 * at.slot, at.parity);
    const uint32_t tile = tile_of[at.slot];
    if (tile == kNoTile) break;
    float acc[2][kTiles][4] = {};
    for (int first = 0; first < chunks; first += kChunksAStage) {
      barrier_wait(full + 8 * at.slot, at.parity);
#  pragma unroll
      for (int chunk = warp; chunk < kChunksAStage; chunk += kWarps)
        if (first + chunk < chunks)
          multiply_chunk<kTiles>(ring + at.slot * kStage + chunk * kChunkBytes, xs + (first + chunk) * kChunk * 2,
                                 layout.x_pitch, m, lane, acc);
      __syncwarp();
      if (lane == 0) barrier_arrive(empty + 8 * at.slot);
      at.advance(stages);
    }
#  pragma unroll
    for (int i = 0; i < kTiles; ++i)
#  pragma unroll
      for (int e = 0; e < 4; ++e)
        sums[turn][warp][8 * i + lane % 4 * 2 + e % 2][lane / 4 + 8 * (e / 2)] = acc[0][i][e] + acc[1][i][e];
    consumers_meet();  // the sums of two tiles ago have been read: their readers came here since
    const int token = threadIdx.x / kRows, r = threadIdx.x % kRows;
    const int64_t row = int64_t{tile} * kRows + r;
    if (token >= m || row >= a.n) continue;
    float sum = 0.f;
#  pragma unroll
    for (int w = 0; w < kWarps; ++w) sum += sums[turn][w][token][r];
    if (a.bias != nullptr) sum += __half2float(a.bias[row]);
    store<Y>(a, row, token, sum);
    best = larger(best, key_of(sum, static_cast<int>(row)));
  }
  if (a.best != nullptr) leave_best(a, best);
#endif
}

}  // namespace

bool takes_stream(const DenseArgs& a, const LaunchTarget& on) {
  return on.clusters && a.m <= kFewDenseRows && a.k % kChunk == 0 && stages_beside(a, on) >= kLeastStages;
}

cudaError_t launch_stream(const DenseArgs& a, const LaunchTarget& on) {
  CUtensorMap map;
  if (const cudaError_t e = make_rows_map(a.w, a.n, a.k, kRows, kChunksAStage, &map); e != cudaSuccess) return e;
  const int stages = stages_beside(a, on);
  const dim3 grid(static_cast<unsigned>(std::min<int64_t>((a.n + kRows - 1) / kRows, on.sms)));
  const size_t smem = static_cast<size_t>(Layout(a).ring_at) + 1024 + static_cast<size_t>(stages) * kStage;
  const auto launch = [&](auto* kernel) {
    return launch_kernel(kernel, grid, kThreads, smem, on.stream, on.overlap, a, map, stages);
  };
  if (a.m <= 8) return a.wide ? launch(dense_stream<1, float>) : launch(dense_stream<1, __half>);
  return a.wide ? launch(dense_stream<2, float>) : launch(dense_stream<2, __half>);
}

}  // namespace awq::backend::cuda
