// fp16 and bf16 as bits, converted with round-to-nearest-even, in portable C++ (the per-ISA files have wide forms).
#pragma once
#include <bit>
#include <cstdint>

namespace awq {

using f16_t = uint16_t;   // IEEE binary16 bits
using bf16_t = uint16_t;  // upper half of a binary32

constexpr float bf16_to_f32(bf16_t h) { return std::bit_cast<float>(uint32_t{h} << 16); }

constexpr bf16_t f32_to_bf16(float f) {
  const uint32_t u = std::bit_cast<uint32_t>(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<bf16_t>((u >> 16) | 0x40);  // keep NaN a NaN, made quiet
  return static_cast<bf16_t>((u + 0x7fffu + ((u >> 16) & 1)) >> 16);
}

constexpr float f16_to_f32(f16_t h) {
  const uint32_t sign = uint32_t{h & 0x8000u} << 16, exp = (h >> 10) & 31u, man = h & 1023u;
  if (exp == 31) return std::bit_cast<float>(sign | 0x7f800000u | (man << 13));
  if (exp != 0) return std::bit_cast<float>(sign | ((exp + 112) << 23) | (man << 13));
  const float magnitude = static_cast<float>(man) * 0x1p-24f;  // subnormal: exact in binary32
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

constexpr f16_t f32_to_f16(float f) {
  const uint32_t u = std::bit_cast<uint32_t>(f), sign = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;
  if (a > 0x7f800000u) return static_cast<f16_t>(sign | 0x7e00u);
  if (a >= 0x477ff000u) return static_cast<f16_t>(sign | 0x7c00u);  // 65520 and above round to infinity
  if (a < 0x38800000u) {  // below 2^-14: let the adder round at 2^-24, the spacing of binary16 subnormals
    const float shifted = std::bit_cast<float>(a) + 0x1p-1f;  // ulp of 0.5 is 2^-24
    return static_cast<f16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = a + 0xfffu + ((a >> 13) & 1);
  return static_cast<f16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

constexpr bool is_finite_f16(f16_t h) { return (h & 0x7c00) != 0x7c00; }

constexpr float round_to_f16(float f) { return f16_to_f32(f32_to_f16(f)); }

}  // namespace awq
