// AVX-VNNI, the 256-bit vpdpwssd of processors without AVX-512 (VEX encoding).
#include "backend/cpu/w4a16_isa_avx2.h"
#include "backend/cpu/w4a16_loops.h"

namespace awq::backend::cpu {
namespace {

struct Isa : Avx2 {
  // Not the intrinsic, for the reason given in w4a16_avx512vnni.cc.
  static void add_products(__m256i& acc, __m256i codes, __m256i x) {
    __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(acc) : "x"(codes), "x"(x));
  }
  static Int dot(Int acc, Int codes, Int x) {
    add_products(acc.low, codes.low, x.low);
    add_products(acc.high, codes.high, x.high);
    return acc;
  }
};

}  // namespace

void gemv_w4a16_avxvnni(const WeightTiles& w, const TokenPanels& x, const OutputPart& out) { gemv<Isa>(w, x, out); }
void gemm_w4a16_avxvnni(const WeightTiles& w, const TokenPanels& x, const OutputPart& out) { gemm<Isa>(w, x, out); }

}  // namespace awq::backend::cpu
