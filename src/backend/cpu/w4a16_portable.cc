// Plain C++: runs anywhere, and is what the other rows must equal bit for bit.
#include "backend/cpu/w4a16_loops.h"
#include "core/half.h"

namespace awq::backend::cpu {
namespace {

template <class T>
struct Lanes {
  alignas(64) T lane[kTileN];
};

template <class T, class F>
Lanes<T> each(const F& f) {
  Lanes<T> out;
  for (int i = 0; i < kTileN; ++i) out.lane[i] = f(i);
  return out;
}

struct Isa {
  using Int = Lanes<int32_t>;
  using Float = Lanes<float>;
  static constexpr int kGemvTokens = 2, kGemvTiles = 1, kGemvTilesFromTokens = 1, kGemvSums = 1;
  static constexpr int kGemmTokens = 4, kGemmTiles = 1;

  static int32_t low(int32_t pair) { return static_cast<int16_t>(pair); }
  static int32_t high(int32_t pair) { return pair >> 16; }

  static Int zero() { return broadcast(0); }
  static Int broadcast(int32_t v) {
    return each<int32_t>([=](int) { return v; });
  }
  static Float broadcast(float v) {
    return each<float>([=](int) { return v; });
  }
  static Int load(const uint32_t* p) {
    return each<int32_t>([=](int i) { return static_cast<int32_t>(p[i]); });
  }
  static Int load(const int32_t* p) {
    return each<int32_t>([=](int i) { return p[i]; });
  }
  static Float load(const float* p) {
    return each<float>([=](int i) { return p[i]; });
  }
  static Float load_half(const uint16_t* p) {
    return each<float>([=](int i) { return f16_to_f32(p[i]); });
  }
  static Int load_zeros(uint64_t z) {
    return each<int32_t>([=](int i) { return static_cast<int32_t>(z >> (i % 2 * 32 + i / 2 * 4) & 15); });
  }
  template <class T>
  static void store(T* p, const Lanes<T>& v) {
    for (int i = 0; i < kTileN; ++i) p[i] = v.lane[i];
  }

  static Int code_pair(const Int& packed, int shift) {
    return each<int32_t>([&](int i) { return static_cast<uint32_t>(packed.lane[i]) >> (4 * shift) & 0x000f000fu; });
  }
  static Int both_halves(const Int& v) {
    return each<int32_t>([&](int i) { return v.lane[i] | v.lane[i] << 16; });
  }
  static Int zero_pair(const Int& v) {
    return each<int32_t>([&](int i) { return v.lane[i] | v.lane[i] << 27; });
  }
  static Int sub_halves(const Int& a, const Int& b) {
    return each<int32_t>([&](int i) {
      const uint32_t l = static_cast<uint16_t>(low(a.lane[i]) - low(b.lane[i]));
      return static_cast<int32_t>(l | static_cast<uint32_t>(high(a.lane[i]) - high(b.lane[i])) << 16);
    });
  }
  static Int dot(const Int& acc, const Int& codes, const Int& x) {
    return each<int32_t>([&](int i) {
      return acc.lane[i] + low(codes.lane[i]) * low(x.lane[i]) + high(codes.lane[i]) * high(x.lane[i]);
    });
  }
  static Int add(const Int& a, const Int& b) {
    return each<int32_t>([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  static Float add(const Float& a, const Float& b) {
    return each<float>([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  static Float mul(const Float& a, const Float& b) {
    return each<float>([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  static Float to_float(const Int& v) {
    return each<float>([&](int i) { return static_cast<float>(v.lane[i]); });
  }
};

}  // namespace

void gemv_w4a16_portable(const WeightTiles& w, const TokenPanels& x, const OutputPart& out) { gemv<Isa>(w, x, out); }
void gemm_w4a16_portable(const WeightTiles& w, const TokenPanels& x, const OutputPart& out) { gemm<Isa>(w, x, out); }

}  // namespace awq::backend::cpu
