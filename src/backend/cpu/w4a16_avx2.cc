// AVX2: vpmaddwd and vpaddd.
#include "backend/cpu/w4a16_isa_avx2.h"
#include "backend/cpu/w4a16_loops.h"

namespace awq::backend::cpu {
namespace {

struct Isa : Avx2 {
  // The sum in place, for the reason given in w4a16_avx512vnni.cc.
  static void add_to(__m256i& acc, __m256i v) { __asm__("vpaddd %1, %0, %0" : "+x"(acc) : "x"(v)); }
  static Int dot(Int acc, Int codes, Int x) {
    add_to(acc.low, _mm256_madd_epi16(codes.low, x.low));
    add_to(acc.high, _mm256_madd_epi16(codes.high, x.high));
    return acc;
  }
};

}  // namespace

void gemv_w4a16_avx2(const WeightTiles& w, const TokenPanels& x, const OutputPart& out) { gemv<Isa>(w, x, out); }
void gemm_w4a16_avx2(const WeightTiles& w, const TokenPanels& x, const OutputPart& out) { gemm<Isa>(w, x, out); }

}  // namespace awq::backend::cpu
