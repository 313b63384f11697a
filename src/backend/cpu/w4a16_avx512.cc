// AVX-512 without VNNI: vpmaddwd and vpaddd.
#include "backend/cpu/w4a16_isa_avx512.h"
#include "backend/cpu/w4a16_loops.h"

namespace awq::backend::cpu {
namespace {

struct Isa : Avx512 {
  // The sum in place, for the reason given in w4a16_avx512vnni.cc.
  static Int dot(Int acc, Int codes, Int x) {
    __asm__("vpaddd %1, %0, %0" : "+v"(acc) : "v"(_mm512_madd_epi16(codes, x)));
    return acc;
  }
};

}  // namespace

void gemv_w4a16_avx512(const WeightTiles& w, const TokenPanels& x, const OutputPart& out) { gemv<Isa>(w, x, out); }
void gemm_w4a16_avx512(const WeightTiles& w, const TokenPanels& x, const OutputPart& out) { gemm<Isa>(w, x, out); }

}  // namespace awq::backend::cpu
