// AVX-512 VNNI: vpdpwssd multiplies 32 pairs and adds them to 16 sums in one instruction.
#include "backend/cpu/w4a16_isa_avx512.h"
#include "backend/cpu/w4a16_loops.h"

namespace awq::backend::cpu {
namespace {

struct Isa : Avx512 {
  static Int dot(Int acc, Int codes, Int x) { return _mm512_dpwssd_epi32(acc, codes, x); }
};

}  // namespace

void gemv_w4a16_avx512vnni(const WeightTiles& w, const TokenPanels& x, const OutputPart& out) { gemv<Isa>(w, x, out); }
void gemm_w4a16_avx512vnni(const WeightTiles& w, const TokenPanels& x, const OutputPart& out) { gemm<Isa>(w, x, out); }

}  // namespace awq::backend::cpu
