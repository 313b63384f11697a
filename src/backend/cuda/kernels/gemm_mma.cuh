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
#include <cstdint>

#include "backend/cuda/kernels/chunk_groups.cuh"
#include "backend/cuda/kernels/epilogue.cuh"
#include "backend/cuda/kernels/gemm_mma_tiles.h"

namespace awq::backend::cuda {

// ---- instructions -------------------------------------------------------------------------------------------------

__device__ inline uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

// (word & mask) | magic
__device__ inline uint32_t masked_or(uint32_t word, uint32_t mask, uint32_t magic) {
  uint32_t out;
  asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(out) : "r"(word), "r"(mask), "r"(magic));
  return out;
}

__device__ inline void load_matrices(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}

// The arithmetic of one type of x: how a word of eight weights becomes the A fragment of a k-step.
template <class T>
struct Dequantizer;

template <>
struct Dequantizer<__half> {
  uint32_t low, high;  // 1024 + z of row g; -(64 + z) of row g + 8; twice each

  __device__ explicit Dequantizer(uint32_t zeros)
      : low(0x64006400u + (zeros & 0xf) * 0x10001u), high(0xd400d400u + (zeros & 0xf0) * 0x10001u) {}

  // 0x6400 | q is 1024 + q; with q four bits up it is 1024 + 16 q, a sixteenth of which is 64 + q: all exact.
  __device__ void operator()(uint32_t (&a)[4], uint32_t word) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t first = masked_or(word, 0x000f000f, 0x64006400), second = masked_or(word, 0x00f000f0, 0x64006400);
      asm("sub.f16x2 %0, %1, %2;" : "=r"(a[2 * half]) : "r"(first), "r"(low));
      asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(a[2 * half + 1]) : "r"(second), "r"(0x2c002c00), "r"(high));
      word >>= 8;
    }
  }
};

template <>
struct Dequantizer<__nv_bfloat16> {
  uint32_t low, high;  // -(128 + z) of rows g and g + 8, twice each

  __device__ explicit Dequantizer(uint32_t zeros)
      : low(0xc300c300u + (zeros & 0xf) * 0x10001u), high(0xc300c300u + (zeros >> 4 & 0xf) * 0x10001u) {}

  // 0x4300 | q is 128 + q. bf16 has 7 bits of mantissa: a nibble four bits up would reach the exponent, so it is
  // shifted.
  __device__ void operator()(uint32_t (&a)[4], uint32_t word) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t magic = masked_or(word >> 4 * i, 0x000f000f, 0x43004300);
      asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(a[i]) : "r"(magic), "r"(0x3f803f80), "r"(i % 2 ? high : low));
    }
  }
};

// acc (16 rows x 8 tokens) += a (16 x 16) b (16 x 8), for all token tiles of a warp.
struct MmaSm80 {
  static constexpr int kCapability = 80;
  static constexpr auto& kTiles = kMmaTilesSm80;
  static constexpr auto& kCosts = kMmaCostsSm80;

  template <class T, int kTiles>
  __device__ static void multiply(float (&acc)[kTiles][4], const uint32_t (&a)[4], const uint32_t (&b)[kTiles][2]) {
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
      float(&d)[4] = acc[j];
      if constexpr (std::is_same_v<T, __half>)
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[j][0]), "r"(b[j][1]));
      else
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[j][0]), "r"(b[j][1]));
    }
  }
};

// Turing multiplies eight k at a time; its two fragments are the two halves of m16n8k16's.
struct MmaSm75 {
  static constexpr int kCapability = 75;
  static constexpr auto& kTiles = kMmaTilesSm75;
  static constexpr auto& kCosts = kMmaCostsSm75;

  template <class T, int kTiles>
  __device__ static void multiply(float (&acc)[kTiles][4], const uint32_t (&a)[4], const uint32_t (&b)[kTiles][2]) {
    static_assert(std::is_same_v<T, __half>, "7.5 has no bf16");
#pragma unroll
    for (int half = 0; half < 2; ++half)  // outer: two instructions on the same sums would wait for each other
#pragma unroll
      for (int j = 0; j < kTiles; ++j) {
        float(&d)[4] = acc[j];
        asm volatile(
            "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[j][half]));
      }
  }
};

// ---- the kernel ---------------------------------------------------------------------------------------------------

template <class T>
struct GemmMmaArgs {
  Epilogue<T> out;
  const uint4* qweight;
  const uint32_t *scales, *zeros;
  float4* partials;  // [splits][row_tiles][token_tiles][lane], null when k is not split
  ChunkGroups groups_of;
  int groups, chunks, row_tiles, token_tiles;
};

// cp.async: straight to shared memory. A quad is 16 bytes, zeros when not valid; a word is 4, left alone when not
// valid.
struct AsyncCopy {
  __device__ void quad(int, void* to, const void* from, bool valid) const {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                 "r"(valid ? 16 : 0));
  }
  __device__ void word(int, void* to, const void* from, bool valid) const {
    if (valid) asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared_address(to)), "l"(from));
  }
};
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;"); }
template <int kPending>
__device__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// The same in two steps for chips without cp.async: fetch to registers, put into shared memory.
template <int kQuads, int kWords>
struct HeldCopies {
  uint4 quads[kQuads];
  uint32_t words[kWords];

  struct Fetch {
    HeldCopies& held;
    __device__ void quad(int i, void*, const void* from, bool valid) const {
      held.quads[i] = valid ? *static_cast<const uint4*>(from) : uint4{};
    }
    __device__ void word(int i, void*, const void* from, bool valid) const {
      if (valid) held.words[i] = *static_cast<const uint32_t*>(from);
    }
  };
  struct Put {
    const HeldCopies& held;
    __device__ void quad(int i, void* to, const void*, bool) const { *static_cast<uint4*>(to) = held.quads[i]; }
    __device__ void word(int i, void* to, const void*, bool valid) const {
      if (valid) *static_cast<uint32_t*>(to) = held.words[i];
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
  int word;  // of 10 parameters of a tile and group, 4 bytes each; 32-bit scales pairs come first
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

    word = lane % 16;  // lanes 0-15 copy a chunk's first group, 16-31 its second if it has one
    const int64_t group_tile = (int64_t{tile / 4} * p.groups + lane / 16) * 4 + tile % 4;
    parameters = reinterpret_cast<const char*>(is_scale() ? p.scales + group_tile * 8 + word
                                                          : p.zeros + group_tile * 2 + word - 8);
    parameters_to = warp_k * kTile.chunk_bytes() + kParameters + in_block * MmaTile::kParameterBytes +
                    lane / 16 * kGroupBytes + word * 4;

    const int token = threadIdx.x / kUnits, unit = threadIdx.x % kUnits;
    column = stage * kTile.warps_k * kTileK + unit * 8;
    tokens = static_cast<int>(min(p.out.m - first_token - token, int64_t{kTile.tokens()}));
    x = p.out.x + (int64_t{first_token} + token) * p.out.k + column;
    x_to = unit / 8 * kTile.chunk_bytes() + kX + token * 128 + (unit ^ token) % 8 * 16;
  }

  __device__ bool is_scale() const { return word < 8; }

  template <class Visit>
  __device__ void each(char* slot, Visit visit) const {
    if (chunk < p.chunks) each_of_chunk(slot, visit);
#pragma unroll
    for (int i = 0; i < kPasses; ++i)
      visit.quad(kTile.row_tiles + i, slot + x_to + i * kPassTokens * 128, x + i * kPassTokens * p.out.k,
                 i * kPassTokens < tokens && column < p.out.k);
  }

  template <class Visit>
  __device__ void each_of_chunk(char* slot, Visit visit) const {
    const bool has_word = word * 4 < kGroupBytes && (threadIdx.x % 32 < 16 || p.groups_of.two);
    const char* from = parameters + p.groups_of.of(chunk) * (is_scale() ? 4 * 32 : 4 * 8);  // 4 tiles of 64 rows
#pragma unroll
    for (int i = 0; i < kTile.row_tiles; ++i) {  // neighbours: row_tiles divides 4
      visit.quad(i, slot + weights_to + i * kTileBytes, weights + i * kTileBytes, true);
      visit.word(i, slot + parameters_to + i * MmaTile::kParameterBytes, from + i * (is_scale() ? 32 : 8), has_word);
    }
  }

  __device__ void advance() {
    chunk += kTile.warps_k;
    weights += kTile.warps_k * 4 * kTileBytes;
    column += kTile.warps_k * kTileK;
    x += kTile.warps_k * kTileK;
  }
};

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
      load_matrices(r, shared_address(x) + token * 128 + (unit ^ (lane % 8)) * 16);
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
        Dequantizer<T>{zeros_of(parameters, i, group)}(a, word);
        Chip::template multiply<T>(group_acc[i], a, b);
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
    if (warp_k != 0) return;
#pragma unroll
    for (int i = 0; i < kTile.row_tiles; ++i) {
      const int tile = first_tile + i;
      if (tile >= p.row_tiles) return;
      if (p.partials == nullptr)
        p.out.store_fragments(tile * kTileRows, first_token, acc[i]);
      else
        store_partials(tile, acc[i]);
    }
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
    commit_copies();  // an empty group too: wait_copies counts groups
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
      wait_copies<kTile.stages - 2>();
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

template <class Block, class T>
__device__ void run_gemm_mma(const GemmMmaArgs<T>& p) {
  extern __shared__ __align__(128) char smem[];
  Block block(p, smem);
  block.run();
  block.add_warps();
  block.store();
}

template <class Chip, class T, int kIndex>
struct GemmMmaKernel {
  using Block = GemmMmaBlock<Chip, T, Chip::kTiles[kIndex]>;
};

// The tile is given as an index: nvcc 13.0's host stub cannot name a struct that is a template argument of a kernel.
template <class Chip, class T, int kIndex>
__global__ void __launch_bounds__(Chip::kTiles[kIndex].threads(), Chip::kTiles[kIndex].resident)
    gemm_mma(const __grid_constant__ GemmMmaArgs<T> p) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  if constexpr (Chip::kCapability >= 80)
    return;  // never launched: see prepare() in gemm_mma.cu
  else
#endif
    run_gemm_mma<typename GemmMmaKernel<Chip, T, kIndex>::Block>(p);
}

// Adds the partial sums of the splits, in their order; a warp a fragment of 16 rows x 8 tokens.
template <class T>
__global__ void __launch_bounds__(256) add_splits(const __grid_constant__ GemmMmaArgs<T> p, int splits) {
  const int64_t fragments = int64_t{p.row_tiles} * p.token_tiles, fragment = (blockIdx.x * 256ll + threadIdx.x) / 32;
  if (fragment >= fragments) return;
  const float4* partial = p.partials + fragment * 32 + threadIdx.x % 32;
  float acc[1][4] = {};
  for (int s = 0; s < splits; ++s, partial += fragments * 32) {
    const float4 v = *partial;
    acc[0][0] += v.x, acc[0][1] += v.y, acc[0][2] += v.z, acc[0][3] += v.w;
  }
  p.out.store_fragments(static_cast<int>(fragment / p.token_tiles * kTileRows), fragment % p.token_tiles * 8, acc);
}

}  // namespace awq::backend::cuda
