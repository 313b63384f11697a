// AMX-INT8: registers of 16 rows of 64 bytes (tiles), and instructions that multiply two of them.
//
// v = 256 high + low, so  sum (q - z) v = 256 sum (q - z) high + sum (q - z) low:  two products of bytes (tdpbssd: both
// signed, tdpbusd: low is not), exact in int32. Put together they are the integer that the other rows compute, and what
// follows rounds as theirs does. Two passes over bytes take the time of one over bfloat16: 1024 flop a cycle.
//
// Of the 8 tiles 4 hold sums (high and low digits times two tiles of weights), 2 digits of 16 tokens, 2 codes. Cycles
// of a core for 16 tokens x 32 outputs x 128 features, by what can do them side by side:
//
//   128  8 products, 16 cycles each
//   120  loads, 2 lines a cycle: 8 tiles of 16 lines to multiply, 112 lines of products, sums and factors to add
//    96  stores, 1 line a cycle: 4 tiles of products, 32 sums
//    96  adding products to sums: 32 x 6 vector instructions, 2 a cycle
//
// The products are the bound only if the rest happens beside them: sums are added while the next tiles multiply.
// Unpacking costs some 10 cycles more when spread over 128 tokens; weights then stream in at 2 bytes a cycle.
#include <immintrin.h>

#include "backend/cpu/w4a16_isa_avx512.h"
#include "backend/cpu/w4a16_loops.h"

namespace awq::backend::cpu {
namespace {

// Of 2, 4, 8 and 16 tiles a strip, with 64 to 512 tokens a task, this was the quickest or within the noise of it at m =
// 16, 64 and 512 (16 virtual cores of a Xeon, 2026-11-21). Digits come from L2 once for 64 outputs.
constexpr int kStripTiles = 4;                         // weight tiles unpacked together
constexpr int kBandPanels = kGemmMaxTokens / kDigitM;  // panels of tokens of a task

// One block of a strip of weights. Codes as AMX reads its second factor: rows of 4 features of 16 outputs.
struct Strip {
  alignas(64) int8_t codes[kStripTiles][kMaxBlock / 4][kTileN][4];  // q - z
  alignas(64) float scales[kStripTiles][kTileN];
};

// What AMX multiplied for 16 tokens and two tiles of weights, before the digits are put together.
struct Products {
  alignas(64) int32_t high[2][kDigitM][kTileN], low[2][kDigitM][kTileN];
};

// Palette 1: bytes of a row and rows of each of the 8 tile registers (Intel SDM volume 1, 18.3).
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// 0 to 3: sums, 4 and 5: digits of tokens, 6 and 7: codes.
class TileRegisters {
 public:
  explicit TileRegisters(int step) {
    TileConfig config;
    for (int i = 0; i < 8; ++i) {
      const bool tokens = i == 4 || i == 5, codes = i >= 6;
      config.row_bytes[i] = static_cast<uint16_t>(tokens ? step : 64);
      config.rows[i] = static_cast<uint8_t>(codes ? step / 4 : kDigitM);
    }
    // Not the intrinsic: it tells the compiler of the first 8 bytes only (g++ 12), and the others are never written.
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
  }
  ~TileRegisters() { _tile_release(); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

inline void unpack_tile(const WeightTiles& w, int64_t tile, int64_t block, int8_t* codes, float* scales) {
  const int64_t group = tile * w.groups + block / w.blocks_per_group;
  const uint32_t* words = w.words + (tile * w.groups * w.blocks_per_group + block) * w.words_per_block * kTileN;
  const __m512i mask = _mm512_set1_epi8(15), z = Avx512::both_halves(Avx512::load_zeros(w.zeros[group]));
  const __m512i zero = _mm512_or_si512(z, _mm512_slli_epi16(z, 8));
  Avx512::store(scales, Avx512::load_half(w.scales + group * kTileN));
  for (int64_t j = 0; j < w.words_per_block; ++j, words += kTileN, codes += 2 * 4 * kTileN) {
    __builtin_prefetch(words + kPrefetchBlocks * w.words_per_block * kTileN);
    const __m512i packed = Avx512::load(words), upper = _mm512_srli_epi16(packed, 4);
    _mm512_store_si512(codes, _mm512_sub_epi8(_mm512_and_si512(packed, mask), zero));
    _mm512_store_si512(codes + 4 * kTileN, _mm512_sub_epi8(_mm512_and_si512(upper, mask), zero));
  }
}

// A strip past the last tile repeats it; what that gives is not stored.
inline void unpack_strip(const WeightTiles& w, int64_t tile, int64_t tile_end, int64_t block, Strip& strip) {
  for (int c = 0; c < kStripTiles; ++c)
    unpack_tile(w, tile + c < tile_end ? tile + c : tile_end - 1, block, strip.codes[c][0][0], strip.scales[c]);
  // GCC's tile loads do not say that they read memory: what was stored must be there.
  __asm__ volatile("" : : : "memory");
}

// Tile registers 0, 1 = high digits, 2, 3 = low digits of 16 tokens times one block of tiles 2 pair, 2 pair + 1.
inline void multiply(const uint8_t* digits, int64_t steps, int64_t step, const Strip& strip, int64_t pair) {
  const int8_t(*codes)[kMaxBlock / 4][kTileN][4] = &strip.codes[2 * pair];
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t s = 0; s < steps; ++s, digits += 2 * kDigitM * step) {
    _tile_loadd(4, digits, step);
    _tile_loadd(6, codes[0][s * step / 4], 64);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(7, codes[1][s * step / 4], 64);
    _tile_dpbssd(1, 4, 7);
    _tile_loadd(5, digits + kDigitM * step, step);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
}

inline void store_products(Products& products) {
  _tile_stored(0, products.high[0], 64);
  _tile_stored(1, products.high[1], 64);
  _tile_stored(2, products.low[0], 64);
  _tile_stored(3, products.low[1], 64);
}

// sums (2, 16 tokens, 16) += float(256 high + low) * (s * 2^e).
inline void add_products(const Products& products, const float (*scales)[kTileN], const float* powers,
                         float (*sums)[kDigitM][kTileN]) {
  const __m512 scale[2] = {_mm512_load_ps(scales[0]), _mm512_load_ps(scales[1])};
#pragma GCC unroll 4
  for (int t = 0; t < kDigitM; ++t) {
    const __m512 power = _mm512_set1_ps(powers[t]);
#pragma GCC unroll 2
    for (int c = 0; c < 2; ++c) {
      const __m512i high = _mm512_load_si512(products.high[c][t]), low = _mm512_load_si512(products.low[c][t]);
      const __m512 dot = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high, 8), low));
      _mm512_store_ps(sums[c][t],
                      _mm512_add_ps(_mm512_load_ps(sums[c][t]), _mm512_mul_ps(dot, _mm512_mul_ps(scale[c], power))));
    }
  }
}

using Sums = float[kBandPanels][kStripTiles][kDigitM][kTileN];

// One block into the sums of all tokens: multiply an item, add the one before, then store over it.
inline void add_block(const Strip& strip, const TokenPanels& x, int64_t token_begin, int64_t panels, int64_t block,
                      int64_t steps, Sums& sums) {
  constexpr int kPairs = kStripTiles / 2;
  const int64_t step = x.digit_step, item_count = panels * kPairs, first = block * x.m + token_begin;
  Products products;
  for (int64_t item = 0; item <= item_count; ++item) {
    const int64_t at = first + item / kPairs * kDigitM;
    if (item < item_count) multiply(x.digits + at * steps * step * 2, steps, step, strip, item % kPairs);
    if (item > 0) {
      const int64_t panel = (item - 1) / kPairs, tile = (item - 1) % kPairs * 2;
      add_products(products, &strip.scales[tile], x.scales + first + panel * kDigitM, &sums[panel][tile]);
    }
    if (item < item_count) store_products(products);
  }
}

inline void gemm_strip(const WeightTiles& w, int64_t tile, const TokenPanels& x, const OutputPart& out) {
  Strip strip;
  alignas(64) Sums sums;
  const int64_t blocks = w.groups * w.blocks_per_group, tokens = out.token_end - out.token_begin;
  const int64_t panels = (tokens + kDigitM - 1) / kDigitM, steps = w.words_per_block * 8 / x.digit_step;
  for (int64_t p = 0; p < panels; ++p)
    for (int c = 0; c < kStripTiles; ++c)
      for (int t = 0; t < kDigitM; ++t) _mm512_store_ps(sums[p][c][t], _mm512_setzero_ps());
  for (int64_t block = 0; block < blocks; ++block) {
    unpack_strip(w, tile, out.tile_end, block, strip);
    add_block(strip, x, out.token_begin, panels, block, steps, sums);
  }
  const int tiles = smaller(out.tile_end - tile, kStripTiles);
  for (int64_t i = 0; i < tokens; ++i) {
    const int64_t token = out.token_begin + i;
    for (int c = 0; c < tiles; ++c)
      finish<Avx512>(w, tile + c, x.salient + token, x.m, _mm512_load_ps(sums[i / kDigitM][c][i % kDigitM]),
                     out.y + token * out.stride + (tile + c) * kTileN);
  }
}

}  // namespace

void gemm_w4a16_amxint8(const WeightTiles& w, const TokenPanels& x, const OutputPart& out) {
  const TileRegisters registers(static_cast<int>(x.digit_step));
  for (int64_t tile = out.tile_begin; tile < out.tile_end; tile += kStripTiles) gemm_strip(w, tile, x, out);
}

}  // namespace awq::backend::cpu
