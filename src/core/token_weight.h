// The arithmetic of drawing a token, in numbers that a CPU and a GPU compute alike to the last bit, so that a seed
// means the same on both. A token's weight, e^((logit - largest) / temperature), is an integer: sums are exact whatever
// their order. Only two operations round, a subtraction and a product of doubles, which IEEE 754 defines; all else is
// integer.
//
//   halvings = (largest - logit) * log2(e) / temperature     32 bits before the point, 32 behind: [ n | f ]
//   weight   = 2^39 * 2^-n * 2^-f                            2^39 for the largest logit, 0 from 39 halvings on
//
// 2^-f = 1 - f (c1 - f (c2 - ... c7)): (1 - 2^-f) / f interpolated at the 7 Chebyshev nodes of [0, 1], off by less than
// 2^-28 of the weight. What is cut off, below 2^-39 of the largest weight, is 2^-22 of it in all for 128k tokens.
#pragma once
#include <cstdint>

#include "core/host_device.h"

namespace awq {

inline constexpr int kWeightBits = 39;  // 2^24 tokens, the most that a vocabulary has, sum to 2^63
inline constexpr uint64_t kWeightless = uint64_t{kWeightBits} << 32;  // halvings

// Bits 127 .. 64 of the product: a fraction a / 2^64 of b, rounded down.
AWQ_HD constexpr uint64_t mul_high(uint64_t a, uint64_t b) {
  const uint64_t a0 = a & 0xffffffffu, a1 = a >> 32, b0 = b & 0xffffffffu, b1 = b >> 32;
  const uint64_t middle = a1 * b0 + (a0 * b0 >> 32), carry = (middle & 0xffffffffu) + a0 * b1;
  return a1 * b1 + (middle >> 32) + (carry >> 32);
}

// How often the weight of `logit` is half of the largest's; kWeightless at most, and for NaN. `scale`: DrawNumbers'.
AWQ_HD inline uint64_t halvings_below(float largest, float logit, double scale) {
  if (logit == largest) return 0;  // infinite ones too
  const double halvings = (double{largest} - double{logit}) * scale;
  return halvings < static_cast<double>(kWeightless) ? static_cast<uint64_t>(halvings) : kWeightless;
}

AWQ_HD constexpr uint64_t weight_after(uint64_t halvings) {
  if (halvings >= kWeightless) return 0;
  const uint64_t f = halvings & 0xffffffffu;
  uint64_t tail = 0xbda6;  // c7 .. c1, in 2^-32
  tail = 0x9c200 - (f * tail >> 32);
  tail = 0x5728b0 - (f * tail >> 32);
  tail = 0x27641a9 - (f * tail >> 32);
  tail = 0xe358127 - (f * tail >> 32);
  tail = 0x3d7f7bcb - (f * tail >> 32);
  tail = 0xb17217f7 - (f * tail >> 32);
  const uint64_t power = (uint64_t{1} << 31) - (f * tail >> 33);  // 2^-f, in 2^-31
  return power << (kWeightBits - 31) >> (halvings >> 32);
}

AWQ_HD inline uint64_t token_weight(float largest, float logit, double scale) {
  return weight_after(halvings_below(largest, logit, scale));
}

// The parameters of one draw as these integers. Tokens are drawn in the order of their ids, or with top-k or top-p from
// the most likely down (the lowest id first among equals): the first one up to which the weights sum to more than
// `uniform` of the total.
struct DrawNumbers {
  static constexpr uint64_t kAll = ~uint64_t{0};  // no float below 1 comes that close to it
  double scale;             // 2^32 halvings of the weight a unit of logit; 0: the token with the largest logit
  double unscale;           // 1 / scale
  uint64_t top_p, uniform;  // in 2^-64; kAll: off
  int32_t top_k;            // 0: off

  AWQ_HD constexpr bool from_the_top() const { return top_k > 0 || top_p != kAll; }
  // The weight that the most likely tokens must together hold, at least one of them.
  AWQ_HD constexpr uint64_t to_hold(uint64_t total) const {
    const uint64_t part = mul_high(top_p, total);
    return part > 0 ? part : 1;
  }
};

inline DrawNumbers draw_numbers(float temperature, int top_k, float top_p, double uniform, int64_t vocab) {
  constexpr double kLog2e = 1.4426950408889634;
  if (temperature == 0) return {};
  const double scale = kLog2e * 0x1p32 / double{temperature};
  return {.scale = scale,
          .unscale = 1 / scale,
          .top_p = top_p < 1 ? static_cast<uint64_t>(double{top_p} * 0x1p64) : DrawNumbers::kAll,
          .uniform = static_cast<uint64_t>(uniform * 0x1p64),
          .top_k = top_k < vocab ? top_k : 0};
}

}  // namespace awq
