// AVX-512 VNNI: vpdpwssd multiplies 32 pairs and adds them to 16 sums in one instruction.
#include "backend/cpu/w4a16_isa_avx512.h"
#include "backend/cpu/w4a16_loops.h"

namespace awq::backend::cpu {
namespace {

struct Isa : Avx512 {
  // Not the intrinsic: with it g++ 12 keeps 24 running sums in other registers than it adds to, and spends as many
  // moves and spills as multiply-adds (m = 512: 416 GFLOP/s instead of 925, 2-core Zen 5).
  static Int dot(Int acc, Int codes, Int x) {
    __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(codes), "v"(x));
    return acc;
  }
};

}  // namespace

void gemv_w4a16_avx512vnni(const WeightTiles& w, const TokenPanels& x, const OutputPart& out) { gemv<Isa>(w, x, out); }
void gemm_w4a16_avx512vnni(const WeightTiles& w, const TokenPanels& x, const OutputPart& out) { gemm<Isa>(w, x, out); }

}  // namespace awq::backend::cpu
