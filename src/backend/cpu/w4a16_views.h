// What a CPU kernel row reads and writes. Plain data only: this header is compiled with several instruction sets, and
// an inline function of it could reach the linker in the wrong one.
//
// Activations: 16-bit block fixed point. Token t, block b of at most 128 input features: x = v * 2^e, v an int16, e the
// smallest exponent that fits. A block's sum of q * v is exact in int32 (128 * 15 * 32767 < 2^26), so
//
//   y[t][n] = sum over blocks, in order, of  float(sum q v - z * sum v) * (s * 2^e)
//
// rounds at the same places whatever the instruction set and however the block is summed: every row gives the same
// bits.
#pragma once
#include <cstdint>

namespace awq::backend::cpu {

inline constexpr int kTileN = 16;      // output features of a tile: the int32 lanes of a 512-bit register
inline constexpr int kPanelM = 8;      // tokens interleaved in a panel of activations
inline constexpr int kMaxBlock = 128;  // input features that share an exponent
inline constexpr int kDigitM = 16;     // tokens of a tile of digits: the rows of an AMX tile
inline constexpr int kDigitK = 64;     // features of a tile of digits, at most: the bytes of an AMX tile's row

// Packed weights of one linear; the bit diagram is in w4a16_weights.h.
struct WeightTiles {
  const uint32_t* words;   // (tiles, groups, blocks_per_group, words_per_block, 16)
  const uint16_t* scales;  // (tiles, groups, 16) fp16
  const uint64_t* zeros;   // (tiles, groups): 16 nibbles
  const float* bias;       // (tiles, 16); zeros where the linear has none
  const uint16_t* delta;   // (tiles, salient, 16) fp16
  int64_t n;
  int64_t groups, blocks_per_group, words_per_block;
  int64_t salient;  // corrected input channels
};

// How a kernel row wants v: as pairs of int16, or as its two bytes apart.
enum class TokenLayout { kPairs, kDigits };

// m tokens, block by block; within a block in panels of 8 (the last one as wide as what is left), so that one block of
// all tokens is one stretch of memory and one token's neighbours are next to it. w is the width of the panel.
//
// kDigits: v = 256 high + low, high signed, low not. Panels of 16 tokens, the last one too: m is rounded up, and what
// stands past the last token is anything. A block is cut into steps of digit_step features, 64 or less. Eight features
// stand in the order 0 4 1 5 2 6 3 7, in which one mask takes their codes from a word of the weights.
struct TokenPanels {
  const int32_t* pairs;   // (blocks, panels (words_per_block * 4, w)): v of features 2j (low half) and 2j + 1
  const uint8_t* digits;  // (blocks, panels (steps, 2: high then low, 16, digit_step))
  int64_t digit_step;
  const int32_t*
      sums;  // kPairs: (blocks, m): digits a (low half) and b of -sum v = a + 2^11 b, |a| < 2^11, |b| <= 2^11
  const float* scales;   // (blocks, m): 2^e
  const float* salient;  // (salient, m): x of the corrected channels, in float
  int64_t m;
};

// The part of y (m, n) that one call computes: whole tiles, whole panels of tokens.
struct OutputPart {
  int64_t tile_begin, tile_end;
  int64_t token_begin, token_end;
  float* y;  // row of token 0
  int64_t stride;
};

using KernelFn = void (*)(const WeightTiles&, const TokenPanels&, const OutputPart&);

inline constexpr int kGemmMaxTokens =
    128;  // most tokens of an OutputPart given to a gemm row: its sums stay in L1 / L2

void gemv_w4a16_portable(const WeightTiles&, const TokenPanels&, const OutputPart&);
void gemm_w4a16_portable(const WeightTiles&, const TokenPanels&, const OutputPart&);
void gemv_w4a16_avx2(const WeightTiles&, const TokenPanels&, const OutputPart&);
void gemm_w4a16_avx2(const WeightTiles&, const TokenPanels&, const OutputPart&);
void gemv_w4a16_avxvnni(const WeightTiles&, const TokenPanels&, const OutputPart&);
void gemm_w4a16_avxvnni(const WeightTiles&, const TokenPanels&, const OutputPart&);
void gemv_w4a16_avx512(const WeightTiles&, const TokenPanels&, const OutputPart&);
void gemm_w4a16_avx512(const WeightTiles&, const TokenPanels&, const OutputPart&);
void gemv_w4a16_avx512vnni(const WeightTiles&, const TokenPanels&, const OutputPart&);
void gemm_w4a16_avx512vnni(const WeightTiles&, const TokenPanels&, const OutputPart&);
void gemm_w4a16_amxint8(const WeightTiles&, const TokenPanels&, const OutputPart&);

}  // namespace awq::backend::cpu
