// AVX-512 without VNNI: vpmaddwd and vpaddd.
#include "backend/cpu/w4a16_isa_avx512.h"
#include "backend/cpu/w4a16_loops.h"

namespace awq::backend::cpu {
namespace {

struct Isa : Avx512 {
  static Int dot(Int acc, Int codes, Int x) { return _mm512_add_epi32(acc, _mm512_madd_epi16(codes, x)); }
};

}  // namespace

void gemv_w4a16_avx512(const WeightTiles& w, const TokenPanels& x, const OutputPart& out) { gemv<Isa>(w, x, out); }
void gemm_w4a16_avx512(const WeightTiles& w, const TokenPanels& x, const OutputPart& out) { gemm<Isa>(w, x, out); }

}  // namespace awq::backend::cpu
