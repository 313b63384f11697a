// Registers of the 256-bit rows: a tile is two registers. Included by the AVX2 and AVX-VNNI files, which differ in
// dot().
#pragma once
#include <immintrin.h>

#include "backend/cpu/w4a16_views.h"

namespace awq::backend::cpu {
namespace {

struct Avx2 {
  struct Int {
    __m256i low, high;
  };
  struct Float {
    __m256 low, high;
  };
  static constexpr int kGemvTokens = 4, kGemvTiles = 1, kGemvTilesFromTokens = 1;
  static constexpr int kGemvSums = 4;  // two registers each; beside them the word, the codes, x and a mask
  static constexpr int kGemmTokens = 4, kGemmTiles = 1;  // 8 sums, 2 codes, 1 x, 2 products of 16 registers

  static __m256i half(const void* p) { return _mm256_load_si256(static_cast<const __m256i*>(p)); }
  static Int both(__m256i v) { return {v, v}; }

  static Int zero() { return both(_mm256_setzero_si256()); }
  static Int broadcast(int32_t v) { return both(_mm256_set1_epi32(v)); }
  static Float broadcast(float v) { return {_mm256_set1_ps(v), _mm256_set1_ps(v)}; }
  static Int load(const uint32_t* p) { return {half(p), half(p + 8)}; }
  static Int load(const int32_t* p) { return {half(p), half(p + 8)}; }
  static Float load(const float* p) { return {_mm256_load_ps(p), _mm256_load_ps(p + 8)}; }
  static Float load_half(const uint16_t* p) {
    const __m256i h = half(p);
    return {_mm256_cvtph_ps(_mm256_castsi256_si128(h)), _mm256_cvtph_ps(_mm256_extracti128_si256(h, 1))};
  }
  static Int load_zeros(uint64_t nibbles) {
    const __m256i all = _mm256_set1_epi64x(static_cast<long long>(nibbles)), mask = _mm256_set1_epi32(15);
    const __m256i low = _mm256_srlv_epi32(all, _mm256_set_epi32(12, 12, 8, 8, 4, 4, 0, 0));
    const __m256i high = _mm256_srlv_epi32(all, _mm256_set_epi32(28, 28, 24, 24, 20, 20, 16, 16));
    return {_mm256_and_si256(low, mask), _mm256_and_si256(high, mask)};
  }
  static void store(int32_t* p, Int v) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(p), v.low);
    _mm256_store_si256(reinterpret_cast<__m256i*>(p + 8), v.high);
  }
  static void store(float* p, Float v) {
    _mm256_storeu_ps(p, v.low);
    _mm256_storeu_ps(p + 8, v.high);
  }

  static Int code_pair(Int packed, int i) {
    const __m256i mask = _mm256_set1_epi32(0x000f000f);
    return {_mm256_and_si256(_mm256_srli_epi32(packed.low, 4 * i), mask),
            _mm256_and_si256(_mm256_srli_epi32(packed.high, 4 * i), mask)};
  }
  static Int both_halves(Int v) {
    return {_mm256_or_si256(v.low, _mm256_slli_epi32(v.low, 16)),
            _mm256_or_si256(v.high, _mm256_slli_epi32(v.high, 16))};
  }
  static Int zero_pair(Int v) {
    return {_mm256_or_si256(v.low, _mm256_slli_epi32(v.low, 27)),
            _mm256_or_si256(v.high, _mm256_slli_epi32(v.high, 27))};
  }
  static Int sub_halves(Int a, Int b) { return {_mm256_sub_epi16(a.low, b.low), _mm256_sub_epi16(a.high, b.high)}; }
  static Int add(Int a, Int b) { return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)}; }
  static Float add(Float a, Float b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
  static Float mul(Float a, Float b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
  static Float to_float(Int v) { return {_mm256_cvtepi32_ps(v.low), _mm256_cvtepi32_ps(v.high)}; }
};

}  // namespace
}  // namespace awq::backend::cpu
