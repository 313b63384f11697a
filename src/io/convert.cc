#include "io/convert.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "core/checked.h"
#include "core/half.h"

namespace awq::io {
namespace {

// All ones when `yes`: GCC makes a branch of some conditional expressions, and a loop with a branch stays scalar.
inline uint32_t mask(bool yes) { return 0u - uint32_t{yes}; }

// f16_to_f32() of core/half.h without its branches, so that the compiler turns the loop into vector code: reading a
// checkpoint must cost no more than moving its bytes. tests/io/convert_test.cc compares all 65536 values.
inline float f16_without_branches(f16_t h) {
  const uint32_t magnitude = h & 0x7fffu, sign = uint32_t{h & 0x8000u} << 16;
  const uint32_t subnormal = mask(magnitude < 0x0400u), special = mask(magnitude >= 0x7c00u);
  const uint32_t normal = (magnitude << 13) + (112u << 23);  // the bias grows from 15 to 127
  // A subnormal is man * 2^-24: put 2^-14 on top, which makes it normal, and take that off again, exactly.
  const float excess = std::bit_cast<float>(subnormal & 0x38800000u);
  const float value = std::bit_cast<float>(normal + (subnormal & (1u << 23))) - excess;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | (special & 0x7f800000u) | sign);
}

// Convert is a lambda, not a function pointer: each conversion then has its own loop and is inlined into it.
template <class Stored, class Convert>
void each(const std::byte* in, std::span<float> out, Convert convert) {
  for (size_t i = 0; i < out.size(); ++i) {
    Stored value;
    std::memcpy(&value, in + i * sizeof value, sizeof value);
    out[i] = convert(value);
  }
}

}  // namespace

bool converts_to_f32(Dtype d) { return d == Dtype::kF32 || d == Dtype::kF16 || d == Dtype::kBF16 || d == Dtype::kF64; }

void convert_to_f32(Dtype dtype, const std::byte* in, std::span<float> out) {
  AWQ_ASSERT(converts_to_f32(dtype));
  switch (dtype) {
    case Dtype::kF32: std::copy_n(in, out.size_bytes(), std::as_writable_bytes(out).data()); break;
    case Dtype::kF16: each<f16_t>(in, out, [](f16_t h) { return f16_without_branches(h); }); break;
    case Dtype::kBF16: each<bf16_t>(in, out, [](bf16_t h) { return bf16_to_f32(h); }); break;
    default: each<double>(in, out, [](double d) { return static_cast<float>(d); });
  }
}

}  // namespace awq::io
