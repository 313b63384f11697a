// The W4A16 kernels, written once over a set of registers `Isa`; each w4a16_<isa>.cc supplies the instructions.
//
//   y[t][n] = sum over blocks of float(sum q v - z sum v) * (s * 2^e)  + sum over salient c of x[t][c] delta[c][n] +
//   bias[n]
//
// gemv: one pass over a tile's words for up to kGemvTokens tokens, codes unpacked in registers and used at once.
// Reads 4.16
//   bits a weight from DRAM and does 2 m flop with them: bandwidth is the bound up to m = 8 or so.
// gemm: a block of kGemmTiles tiles is unpacked once into int16 with its zero points taken off, then multiplied with up
// to
//   128 tokens, kGemmTokens at a time: unpacking costs 1 / m, and the multiply-add units are the bound.
//
// Isa: Int (16 int32 lanes), Float (16 lanes), dot(acc, codes, x) = acc + sum of the products of the int16 halves, and
// the loads, stores and conversions used below. Everything here is in an anonymous namespace: each including file
// compiles it for its own instruction set, and the linker must not merge them.
#pragma once
#include "backend/cpu/w4a16_views.h"

namespace awq::backend::cpu {
namespace {

template <int N>
struct Count {
  static constexpr int value = N;
};

// Calls body(Count<count>{}) for count in 1 .. N: a loop bound known at run time becomes one known to the compiler.
template <int N, class Body>
inline void with_count(int count, const Body& body) {
  if constexpr (N > 1) {
    if (count < N) return with_count<N - 1>(count, body);
  }
  body(Count<N>{});
}

inline int smaller(int64_t a, int64_t b) { return static_cast<int>(a < b ? a : b); }

// Up to 8 tokens next to each other in one panel. From block to block, and from one salient channel to the next,
// pointers move by the numbers of all m tokens.
struct TokenSlice {
  const int32_t* pairs;  // at the first token; a block's pairs are `width` apart
  const int32_t* sums;
  const float* scales;
  const float* salient;
  int64_t m;
  int width;  // of the panel
  int count;  // tokens of this slice
};

inline TokenSlice slice(const WeightTiles& w, const TokenPanels& x, int64_t token, int64_t token_end, int at_most) {
  const int64_t panel = token / kPanelM * kPanelM;
  const int width = smaller(x.m - panel, kPanelM);
  const int count = smaller(smaller(panel + width, token_end) - token, at_most);
  const int32_t* pairs = x.pairs + panel * w.words_per_block * 4 + (token - panel);
  return {pairs, x.sums + token, x.scales + token, x.salient + token, x.m, width, count};
}

// The width of the panel that a slice of kTokens lies in. Where slices are whole panels it is known to the compiler,
// which saves an address for every token in the inner loops.
template <int kTokens, int kMostTokens>
inline int panel_width(int width) {
  return kMostTokens == kPanelM ? kTokens : width;
}

// Correction and bias onto one token's sums of one tile, and out to y; lanes past n are dropped.
template <class Isa>
inline void finish(const WeightTiles& w, int64_t tile, const float* salient, int64_t m, const typename Isa::Float& main,
                   float* y) {
  typename Isa::Float sum = main;
  const uint16_t* delta = w.delta + tile * w.salient * kTileN;
  for (int64_t c = 0; c < w.salient; ++c)
    sum = Isa::add(sum, Isa::mul(Isa::broadcast(salient[c * m]), Isa::load_half(delta + c * kTileN)));
  sum = Isa::add(sum, Isa::load(w.bias + tile * kTileN));
  const int64_t lanes = w.n - tile * kTileN;
  if (lanes >= kTileN) return Isa::store(y, sum);
  alignas(64) float all[kTileN];
  Isa::store(all, sum);
  for (int64_t i = 0; i < lanes; ++i) y[i] = all[i];
}

// ---- gemv -----------------------------------------------------------------------------------------------------------

// A sum can take a product every 4 to 5 cycles only, two instructions can start in each: few sums are kept in several
// chains, added at the block's end, as many as there are registers for.
template <class Isa, int kSums>
inline constexpr int kChains = 4 * kSums <= Isa::kGemvSums   ? 4
                               : 2 * kSums <= Isa::kGemvSums ? 2
                                                             : 1;

// dot[t][c] = sum of q v - z sum v over one block, for kTiles tiles whose words lie `tile_words` apart. The zero point
// is one more pair of features: codes (z, z 2^11) times the two digits of -sum v (see TokenPanels::sums). `ahead` is
// what to ask memory for meanwhile.
template <class Isa, int kTokens, int kTiles>
inline void gemv_block(const uint32_t* words, const uint32_t* ahead, int64_t tile_words, int64_t word_count,
                       const typename Isa::Int (&zero)[kTiles], const int32_t* pairs, const int32_t* sums, int width,
                       typename Isa::Int (&dot)[kTokens][kTiles]) {
  constexpr int kParts = kChains<Isa, kTokens * kTiles>;
  typename Isa::Int part[kTokens][kTiles][kParts];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int c = 0; c < kTiles; ++c) {
      part[t][c][0] = Isa::dot(Isa::zero(), zero[c], Isa::broadcast(sums[t]));
#pragma GCC unroll 4
      for (int i = 1; i < kParts; ++i) part[t][c][i] = Isa::zero();
    }
  for (int64_t j = 0; j < word_count; ++j, words += kTileN, ahead += kTileN, pairs += 4 * width) {
    typename Isa::Int packed[kTiles];
#pragma GCC unroll 4
    for (int c = 0; c < kTiles; ++c) {
      __builtin_prefetch(ahead + c * tile_words);
      packed[c] = Isa::load(words + c * tile_words);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      typename Isa::Int codes[kTiles];
#pragma GCC unroll 4
      for (int c = 0; c < kTiles; ++c) codes[c] = Isa::code_pair(packed[c], i);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const typename Isa::Int x = Isa::broadcast(pairs[i * width + t]);
#pragma GCC unroll 4
        for (int c = 0; c < kTiles; ++c) part[t][c][i % kParts] = Isa::dot(part[t][c][i % kParts], codes[c], x);
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int c = 0; c < kTiles; ++c) {
      dot[t][c] = part[t][c][0];
#pragma GCC unroll 4
      for (int i = 1; i < kParts; ++i) dot[t][c] = Isa::add(dot[t][c], part[t][c][i]);
    }
}

// 8 KiB of each tile at blocks of 128: 2 to 12 blocks were tried, 8 was quickest at m = 1 and 4 (2-core Zen 5).
inline constexpr int64_t kPrefetchBlocks = 8;

template <class Isa, int kTokens, int kTiles>
inline void gemv_tiles(const WeightTiles& w, int64_t tile, const TokenSlice& x, float* y, int64_t stride) {
  using Int = typename Isa::Int;
  using Float = typename Isa::Float;
  const int width = panel_width<kTokens, Isa::kGemvTokens>(x.width);
  Float sum[kTokens][kTiles];
  for (int t = 0; t < kTokens; ++t)
    for (int c = 0; c < kTiles; ++c) sum[t][c] = Isa::broadcast(0.f);
  const int64_t block_words = w.words_per_block * kTileN, tile_words = w.groups * w.blocks_per_group * block_words;
  const uint32_t* words = w.words + tile * tile_words;
  const int64_t blocks = w.groups * w.blocks_per_group;
  int64_t block = 0;
  for (int64_t g = 0; g < w.groups; ++g) {
    Float scale[kTiles];
    Int zero[kTiles];
    for (int c = 0; c < kTiles; ++c) {
      const int64_t group = (tile + c) * w.groups + g;
      scale[c] = Isa::load_half(w.scales + group * kTileN);
      zero[c] = Isa::zero_pair(Isa::load_zeros(w.zeros[group]));
      __builtin_prefetch(w.scales + (group + kTiles * w.groups) * kTileN);  // of the next tiles
      __builtin_prefetch(w.zeros + group + kTiles * w.groups);
    }
    for (int64_t b = 0; b < w.blocks_per_group; ++b, ++block, words += block_words) {
      // The last blocks look ahead into the next tiles, past those computed beside this one.
      const int64_t skip = (block + kPrefetchBlocks < blocks ? 0 : kTiles - 1) * tile_words;
      Int dot[kTokens][kTiles];
      gemv_block<Isa, kTokens, kTiles>(words, words + kPrefetchBlocks * block_words + skip, tile_words,
                                       w.words_per_block, zero, x.pairs + block * x.m * w.words_per_block * 4,
                                       x.sums + block * x.m, width, dot);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const Float power = Isa::broadcast(x.scales[block * x.m + t]);
#pragma GCC unroll 4
        for (int c = 0; c < kTiles; ++c)
          sum[t][c] = Isa::add(sum[t][c], Isa::mul(Isa::to_float(dot[t][c]), Isa::mul(scale[c], power)));
      }
    }
  }
  for (int t = 0; t < kTokens; ++t)
    for (int c = 0; c < kTiles; ++c)
      finish<Isa>(w, tile + c, x.salient + t, x.m, sum[t][c], y + t * stride + c * kTileN);
}

// All tokens of one step of tiles, so that its words are read from memory once.
template <class Isa, int kTiles>
inline void gemv_tokens(const WeightTiles& w, int64_t tile, const TokenPanels& x, const OutputPart& out) {
  for (int64_t token = out.token_begin; token < out.token_end;) {
    const TokenSlice part = slice(w, x, token, out.token_end, Isa::kGemvTokens);
    float* y = out.y + token * out.stride + tile * kTileN;
    with_count<Isa::kGemvTokens>(part.count,
                                 [&](auto n) { gemv_tiles<Isa, n.value, kTiles>(w, tile, part, y, out.stride); });
    token += part.count;
  }
}

template <class Isa>
inline void gemv(const WeightTiles& w, const TokenPanels& x, const OutputPart& out) {
  // One tile at a time for the fewest tokens: one stream from memory is quicker than two, and nothing is shared.
  const bool few = out.token_end - out.token_begin < Isa::kGemvTilesFromTokens;
  for (int64_t tile = out.tile_begin; tile < out.tile_end;) {
    const int step = few ? 1 : smaller(out.tile_end - tile, Isa::kGemvTiles);
    with_count<Isa::kGemvTiles>(step, [&](auto n) { gemv_tokens<Isa, n.value>(w, tile, x, out); });
    tile += step;
  }
}

// ---- gemm -----------------------------------------------------------------------------------------------------------

template <int kTiles>
struct UnpackedBlock {
  alignas(64) int32_t codes[kMaxBlock / 2][kTiles][kTileN];  // pairs of int16: q - z of features 2j, 2j + 1
  alignas(64) float scales[kTiles][kTileN];
};

template <class Isa, int kTiles>
inline void unpack_block(const WeightTiles& w, int64_t tile, int64_t g, int64_t b, UnpackedBlock<kTiles>& out) {
  for (int c = 0; c < kTiles; ++c) {
    const int64_t group = (tile + c) * w.groups + g;
    const uint32_t* words = w.words + (group * w.blocks_per_group + b) * w.words_per_block * kTileN;
    const typename Isa::Int zero = Isa::both_halves(Isa::load_zeros(w.zeros[group]));
    Isa::store(out.scales[c], Isa::load_half(w.scales + group * kTileN));
    for (int64_t j = 0; j < w.words_per_block; ++j) {
      __builtin_prefetch(words + (kPrefetchBlocks * w.words_per_block + j) * kTileN);
      const typename Isa::Int packed = Isa::load(words + j * kTileN);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) Isa::store(out.codes[4 * j + i][c], Isa::sub_halves(Isa::code_pair(packed, i), zero));
    }
  }
}

// sums (kTokens, kTiles * 16) += one block's products.
template <class Isa, int kTiles, int kTokens>
inline void gemm_micro(const UnpackedBlock<kTiles>& w, int64_t pair_count, const int32_t* pairs, const float* scales,
                       int any_width, float* sums) {
  using Int = typename Isa::Int;
  const int width = panel_width<kTokens, Isa::kGemmTokens>(any_width);
  Int dot[kTokens][kTiles];
  for (int t = 0; t < kTokens; ++t)
    for (int c = 0; c < kTiles; ++c) dot[t][c] = Isa::zero();
  for (int64_t j = 0; j < pair_count; ++j) {
    Int codes[kTiles];
    for (int c = 0; c < kTiles; ++c) codes[c] = Isa::load(w.codes[j][c]);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const Int x = Isa::broadcast(pairs[j * width + t]);
#pragma GCC unroll 4
      for (int c = 0; c < kTiles; ++c) dot[t][c] = Isa::dot(dot[t][c], codes[c], x);
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int c = 0; c < kTiles; ++c) {
      float* at = sums + (t * kTiles + c) * kTileN;
      const typename Isa::Float scale = Isa::mul(Isa::load(w.scales[c]), Isa::broadcast(scales[t]));
      Isa::store(at, Isa::add(Isa::load(at), Isa::mul(Isa::to_float(dot[t][c]), scale)));
    }
}

template <class Isa, int kTiles>
inline void gemm_tiles(const WeightTiles& w, int64_t tile, const TokenPanels& x, const OutputPart& out) {
  UnpackedBlock<kTiles> unpacked;
  alignas(64) float sums[kGemmMaxTokens][kTiles][kTileN];
  for (int64_t t = 0; t < out.token_end - out.token_begin; ++t)
    for (int c = 0; c < kTiles; ++c) Isa::store(sums[t][c], Isa::broadcast(0.f));

  const int64_t pairs_per_block = w.words_per_block * 4;
  for (int64_t block = 0; block < w.groups * w.blocks_per_group; ++block) {
    unpack_block<Isa, kTiles>(w, tile, block / w.blocks_per_group, block % w.blocks_per_group, unpacked);
    for (int64_t token = out.token_begin; token < out.token_end;) {
      const TokenSlice part = slice(w, x, token, out.token_end, Isa::kGemmTokens);
      const int32_t* pairs = part.pairs + block * part.m * pairs_per_block;
      const float* scales = part.scales + block * part.m;
      float* to = sums[token - out.token_begin][0];
      with_count<Isa::kGemmTokens>(part.count, [&](auto n) {
        gemm_micro<Isa, kTiles, n.value>(unpacked, pairs_per_block, pairs, scales, part.width, to);
      });
      token += part.count;
    }
  }
  for (int64_t token = out.token_begin; token < out.token_end; ++token) {
    const TokenSlice one = slice(w, x, token, out.token_end, 1);
    for (int c = 0; c < kTiles; ++c)
      finish<Isa>(w, tile + c, one.salient, one.m, Isa::load(sums[token - out.token_begin][c]),
                  out.y + token * out.stride + (tile + c) * kTileN);
  }
}

template <class Isa>
inline void gemm(const WeightTiles& w, const TokenPanels& x, const OutputPart& out) {
  for (int64_t tile = out.tile_begin; tile < out.tile_end; tile += Isa::kGemmTiles)
    with_count<Isa::kGemmTiles>(smaller(out.tile_end - tile, Isa::kGemmTiles),
                                [&](auto n) { gemm_tiles<Isa, n.value>(w, tile, x, out); });
}

}  // namespace
}  // namespace awq::backend::cpu
