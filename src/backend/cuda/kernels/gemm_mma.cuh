// gemm_mma -- y[token][row] = sum_k x[token][k] * s[row][g] * (q[row][k] - z[row][g]),  g = k / group.
//
// mma.sync with the weights on the 16-wide side and the tokens on the 8-wide side: a lane's 16 bytes of the layout are
// its A fragments of four k-steps (bit diagram: tile_layout.h), x comes through shared memory with ldmatrix as B.
// q - z is exact in f16 and in bf16, so products are exact; a group's sum is scaled once, in float32:
//
//   acc[row][token] += s[row][g] * sum_{k in g} (q - z)[row][k] * x[token][k]
//
// A block's k runs through a ring of stages in shared memory:
//
//   stage   [ 64 k: weights | x | scales, zeros ][ 64 k ... ]   one chunk of 64 input features for each of warps_k
//   x       row = token, 8 units of 16 bytes; unit u of token t lies at u ^ (t % 8): ldmatrix meets all 32 banks
//
// Roofline, n = 28672, k = 4096, group 128: 61 MB of weights, m * 235e6 flop. On an A100 (1.5 TB/s, 312 Tflop/s) memory
// decides below m = 50, arithmetic above; a k-step of a warp with 2 row tiles and 8 token tiles is 16 mma of 8 cycles
// a sub-core against 2 x 9 instructions that dequantize and 8 that scale, so the tensor cores stay the limit.
#pragma once
#include "backend/cuda/kernels/gemm_mma_stage.cuh"

namespace awq::backend::cuda {

// Chip is MmaSm80 or MmaSm75 of gemm_mma.cu.
template <class Chip, class T, MmaTile kTile>
struct GemmMmaBlock {
  using Copies = StageCopies<T, kTile>;
  static constexpr int kGroupBytes = Copies::kGroupBytes;

  const GemmMmaArgs<T>& p;
  char* const smem;
  const int lane = threadIdx.x % 32, warp_m = threadIdx.x / 32 % kTile.warps_m,
            warp_k = threadIdx.x / 32 / kTile.warps_m;
  const int first_token = blockIdx.x * kTile.tokens();
  const int first_tile = blockIdx.y * kTile.tiles() + warp_m * kTile.row_tiles;  // this warp's, of 16 rows
  int first_stage, end_stage;
  float acc[kTile.row_tiles][kTile.token_tiles][4] = {};
  float group_acc[kTile.row_tiles][kTile.token_tiles][4] = {};

  __device__ GemmMmaBlock(const GemmMmaArgs<T>& args, char* shared) : p(args), smem(shared) {
    const int stages = (p.chunks + kTile.warps_k - 1) / kTile.warps_k, splits = gridDim.z, split = blockIdx.z;
    first_stage = static_cast<int>(int64_t{stages} * split / splits);
    end_stage = static_cast<int>(int64_t{stages} * (split + 1) / splits);
  }

  // The B fragments of 16 k: b[j] for tokens 8j..8j+7.
  __device__ void load_tokens(uint32_t (&b)[kTile.token_tiles][2], const char* x, int step) const {
#pragma unroll
    for (int j = 0; j < kTile.token_tiles; j += 2) {
      const int token = 8 * j + lane / 16 * 8 + lane % 8, unit = 2 * step + lane / 8 % 2;
      uint32_t r[4];
      ldmatrix4(r, smem_address(x) + token * 128 + (unit ^ (lane % 8)) * 16);
      b[j][0] = r[0], b[j][1] = r[1], b[j + 1][0] = r[2], b[j + 1][1] = r[3];
    }
  }

  // The end of a group: acc += s * group_acc.
  __device__ void scale_group(const char* parameters, int group) {
#pragma unroll
    for (int i = 0; i < kTile.row_tiles; ++i) {
      const char* of_tile = parameters + i * MmaTile::kParameterBytes + group * kGroupBytes;
      const float2 s = __half22float2(reinterpret_cast<const __half2*>(of_tile)[lane / 4]);
#pragma unroll
      for (int j = 0; j < kTile.token_tiles; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          acc[i][j][e] = fmaf(e < 2 ? s.x : s.y, group_acc[i][j][e], acc[i][j][e]);
          group_acc[i][j][e] = 0.f;
        }
    }
  }

  __device__ uint32_t zeros_of(const char* parameters, int tile, int group) const {
    const char* of_tile = parameters + tile * MmaTile::kParameterBytes + group * kGroupBytes;
    return static_cast<uint8_t>(of_tile[32 + lane / 4]);
  }

  __device__ void multiply(const char* slot, int stage) {
    const int chunk = stage * kTile.warps_k + warp_k;
    if (chunk >= p.chunks) return;  // k is not a multiple of the stage
    const char* part = slot + warp_k * kTile.chunk_bytes();
    const char* parameters = part + Copies::kParameters + warp_m * kTile.row_tiles * MmaTile::kParameterBytes;
    uint4 words[kTile.row_tiles];
#pragma unroll
    for (int i = 0; i < kTile.row_tiles; ++i)
      words[i] = *reinterpret_cast<const uint4*>(part + (warp_m * kTile.row_tiles + i) * kTileBytes + lane * 16);
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      const int group = step >= 2 && p.groups_of.two;
      uint32_t b[kTile.token_tiles][2];
      load_tokens(b, part + Copies::kX, step);
#pragma unroll
      for (int i = 0; i < kTile.row_tiles; ++i) {
        const uint32_t word = step == 0 ? words[i].x : step == 1 ? words[i].y : step == 2 ? words[i].z : words[i].w;
        uint32_t a[4];
        Dequantize<T>::word(word, Dequantize<T>::zeros(zeros_of(parameters, i, group)), a);
#pragma unroll
        for (int j = 0; j < kTile.token_tiles; ++j) mma<T>(group_acc[i][j], a, b[j][0], b[j][1]);
      }
      if (step == 1 && p.groups_of.two) scale_group(parameters, 0);
    }
    const bool ends = stage + 1 == end_stage || chunk + kTile.warps_k >= p.chunks ||
                      p.groups_of.of(chunk + kTile.warps_k) != p.groups_of.of(chunk);
    if (ends) scale_group(parameters, p.groups_of.two);
  }

  // Adds the sums of the warps that shared rows, in the order of warp_k, into those of warp_k = 0.
  __device__ void add_warps() {
    if constexpr (kTile.warps_k == 1) return;
    constexpr int kFragments = kTile.row_tiles * kTile.token_tiles;
    static_assert((kTile.warps_k - 1) * kTile.warps_m * kFragments * 512 <= kTile.smem_bytes());
    auto* sums = reinterpret_cast<float4*>(smem);  // [warps_k - 1][warps_m][fragments][lane]
    __syncthreads();                               // the ring is done with this memory
#pragma unroll
    for (int w = 1; w < kTile.warps_k; ++w) {
      float4* of_warp = sums + ((w - 1) * kTile.warps_m + warp_m) * kFragments * 32 + lane;
      if (warp_k == w)
        each_fragment([&](int i, int j, float(&d)[4]) {
          of_warp[(i * kTile.token_tiles + j) * 32] = {d[0], d[1], d[2], d[3]};
        });
    }
    __syncthreads();
    if (warp_k != 0) return;
#pragma unroll
    for (int w = 1; w < kTile.warps_k; ++w) {
      const float4* of_warp = sums + ((w - 1) * kTile.warps_m + warp_m) * kFragments * 32 + lane;
      each_fragment([&](int i, int j, float(&d)[4]) {
        const float4 v = of_warp[(i * kTile.token_tiles + j) * 32];
        d[0] += v.x, d[1] += v.y, d[2] += v.z, d[3] += v.w;
      });
    }
  }

  template <class Visit>
  __device__ void each_fragment(Visit visit) {
#pragma unroll
    for (int i = 0; i < kTile.row_tiles; ++i)
#pragma unroll
      for (int j = 0; j < kTile.token_tiles; ++j) visit(i, j, acc[i][j]);
  }

  __device__ void store() {
    if (p.partials == nullptr) add_corrections();
    if (warp_k != 0) return;
#pragma unroll
    for (int i = 0; i < kTile.row_tiles; ++i) {
      const int tile = first_tile + i;
      if (tile >= p.row_tiles) return;
      if (p.partials == nullptr)
        p.out.store_rounded(tile * kTileRows, first_token, acc[i]);
      else
        store_partials(tile, acc[i]);
    }
  }

  // Bias and salient channels; x of as many of these as fit is gathered into the memory of the ring at a time, because
  // all rows of the block want the same values, which lie k apart.
  __device__ void add_corrections() {
    constexpr int kFit = kTile.smem_bytes() / (kTile.tokens() * 4);
    auto* s_x = reinterpret_cast<float*>(smem);  // [channel][token]
    if (warp_k == 0) each_row_tile([&](int row, auto& sums) { p.out.add_bias(sums, row); });
    for (int first = 0; first < p.out.salient; first += kFit) {
      const int end = min(first + kFit, p.out.salient);
      __syncthreads();  // everybody is done with what was there
      gather_salient(s_x, first, end);
      __syncthreads();
      if (warp_k != 0) continue;
      each_row_tile([&](int row, auto& sums) {
        p.out.add_salient(sums, row, 0, first, end,
                          [&](int c, int64_t token) { return s_x[(c - first) * kTile.tokens() + token]; });
      });
    }
  }

  __device__ void gather_salient(float* s_x, int first, int end) const {
    for (int i = threadIdx.x; i < (end - first) * kTile.tokens(); i += kTile.threads()) {
      const int64_t token = first_token + i % kTile.tokens();
      const int column = p.out.index[first + i / kTile.tokens()];
      s_x[i] = token < p.out.m ? to_float(p.out.x[token * p.out.k + column]) : 0.f;
    }
  }

  template <class Visit>
  __device__ void each_row_tile(Visit visit) {
#pragma unroll
    for (int i = 0; i < kTile.row_tiles; ++i) visit((first_tile + i) * kTileRows, acc[i]);
  }

  __device__ void store_partials(int tile, const float (&sums)[kTile.token_tiles][4]) const {
    float4* to = p.partials + ((int64_t{blockIdx.z} * p.row_tiles + tile) * p.token_tiles) * 32 + lane;
#pragma unroll
    for (int j = 0; j < kTile.token_tiles; ++j) {
      const int token_tile = first_token / 8 + j;
      if (token_tile < p.token_tiles) to[token_tile * 32] = {sums[j][0], sums[j][1], sums[j][2], sums[j][3]};
    }
  }

  __device__ char* next_slot(char* slot) const {
    slot += kTile.stage_bytes();
    return slot == smem + kTile.smem_bytes() ? smem : slot;
  }

  __device__ void load_stage(Copies& copies, char* slot, bool exists) const {
    if (exists) copies.each(slot, AsyncCopy{});
    copies.advance();
    copy_commit();  // an empty group too: copy_wait counts groups
  }

  __device__ void run() {
    if constexpr (Chip::kCapability >= 80)
      run_async();
    else
      run_held();
  }

  __device__ void run_async() {
    Copies copies(p, first_stage, first_tile, first_token);
    char *filled = smem, *read = smem;
    for (int i = 0; i < kTile.stages - 1; ++i, filled = next_slot(filled))
      load_stage(copies, filled, first_stage + i < end_stage);
    for (int stage = first_stage; stage < end_stage; ++stage) {
      copy_wait<kTile.stages - 2>();
      __syncthreads();  // the stage is there for everybody, and everybody has left the slot that is filled next
      load_stage(copies, filled, stage + kTile.stages - 1 < end_stage);
      multiply(read, stage);
      filled = next_slot(filled), read = next_slot(read);
    }
  }

  __device__ void run_held() {
    using Held = HeldCopies<kTile.row_tiles + Copies::kPasses, kTile.row_tiles>;
    Held held;
    Copies copies(p, first_stage, first_tile, first_token);
    const auto put_stage = [&](char* slot) {
      copies.each(slot, typename Held::Put{held});
      copies.advance();
      __syncthreads();
    };
    copies.each(smem, typename Held::Fetch{held});
    put_stage(smem);
    char* read = smem;
    for (int stage = first_stage; stage < end_stage; ++stage, read = next_slot(read)) {
      const bool more = stage + 1 < end_stage;
      if (more) copies.each(smem, typename Held::Fetch{held});
      multiply(read, stage);
      if (more) put_stage(next_slot(read));
    }
  }
};

}  // namespace awq::backend::cuda
