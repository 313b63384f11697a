#include "io/convert.h"

#include <bit>
#include <cstdint>
#include <cstring>

#include "core/checked.h"
#include "core/half.h"

namespace awq::io {
namespace {

// f16_to_f32() of core/half.h without its branches, so that the compiler turns the loop into vector code: reading a
// checkpoint must cost no more than moving its bytes. tests/io/convert_test.cc holds all 65536 values against it.
inline float f16_without_branches(uint16_t h) {
  const uint32_t sign = uint32_t{h & 0x8000u} << 16, exp = h & 0x7c00u, man = h & 0x03ffu;
  const uint32_t normal = ((exp | man) << 13) + (112u << 23);  // the bias grows from 15 to 127
  const uint32_t special = normal + (112u << 23);              // infinity and NaN: exponent 31 becomes 255
  const uint32_t subnormal = std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(man)) * 0x1p-24f);
  const uint32_t magnitude = exp == 0x7c00u ? special : exp == 0 ? subnormal : normal;
  return std::bit_cast<float>(sign | magnitude);
}

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
    case Dtype::kF32: std::memcpy(out.data(), in, out.size_bytes()); break;
    case Dtype::kF16: each<uint16_t>(in, out, f16_without_branches); break;
    case Dtype::kBF16: each<uint16_t>(in, out, bf16_to_f32); break;
    default: each<double>(in, out, [](double d) { return static_cast<float>(d); });
  }
}

}  // namespace awq::io
