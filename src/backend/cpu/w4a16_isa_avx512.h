// Registers of the AVX-512 rows: a tile is one register. Included by the two AVX-512 files, which differ in dot().
#pragma once
#include <immintrin.h>

#include "backend/cpu/w4a16_views.h"

namespace awq::backend::cpu {
namespace {

struct Avx512 {
  using Int = __m512i;
  using Float = __m512;
  static constexpr int kGemvTokens = 8, kGemvTiles = 2, kGemvTilesFromTokens = 3;
  static constexpr int kGemvSums = 16;                   // beside them 2 words, 2 codes, 1 x, 1 mask
  static constexpr int kGemmTokens = 8, kGemmTiles = 3;  // 24 sums, 3 codes, 1 x: 28 of 32 registers

  static Int zero() { return _mm512_setzero_si512(); }
  static Int broadcast(int32_t v) { return _mm512_set1_epi32(v); }
  static Float broadcast(float v) { return _mm512_set1_ps(v); }
  static Int load(const uint32_t* p) { return _mm512_load_si512(p); }
  static Int load(const int32_t* p) { return _mm512_load_si512(p); }
  static Float load(const float* p) { return _mm512_load_ps(p); }
  static Float load_half(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static Int load_zeros(uint64_t nibbles) {
    const Int shifts = _mm512_set_epi32(28, 28, 24, 24, 20, 20, 16, 16, 12, 12, 8, 8, 4, 4, 0, 0);
    return _mm512_and_si512(_mm512_srlv_epi32(_mm512_set1_epi64(static_cast<long long>(nibbles)), shifts),
                            broadcast(15));
  }
  static void store(int32_t* p, Int v) { _mm512_store_si512(p, v); }
  static void store(float* p, Float v) { _mm512_storeu_ps(p, v); }

  static Int code_pair(Int packed, int i) {
    return _mm512_and_si512(_mm512_srli_epi32(packed, 4 * i), broadcast(0x000f000f));
  }
  static Int both_halves(Int v) { return _mm512_or_si512(v, _mm512_slli_epi32(v, 16)); }
  static Int zero_pair(Int v) { return _mm512_or_si512(v, _mm512_slli_epi32(v, 27)); }
  static Int sub_halves(Int a, Int b) { return _mm512_sub_epi16(a, b); }
  static Int add(Int a, Int b) { return _mm512_add_epi32(a, b); }
  static Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float to_float(Int v) { return _mm512_cvtepi32_ps(v); }
};

}  // namespace
}  // namespace awq::backend::cpu
