// One quantized linear in the form every layout is encoded from and decoded to.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "awq/config.h"
#include "core/half.h"

namespace awq::format {

// w[n][k] = (q[n][k] - zeros[n][g]) * scales[n][g],  g = k / group
struct QuantizedLinear {
  int64_t n = 0, k = 0;
  int group = 128;  // > 0, divides k
  int bits = 4;
  std::vector<uint8_t> q;      // (n, k), 0 .. 2^bits - 1, one code a byte
  std::vector<f16_t> scales;   // (n, k / group)
  std::vector<uint8_t> zeros;  // (n, k / group), 0 .. 2^bits - 1
  std::vector<f16_t> bias;     // (n) or empty

  int64_t groups() const { return k / group; }
  float dequantized(int64_t row, int64_t col) const {
    const int64_t g = row * groups() + col / group;
    return (static_cast<int>(q[row * k + col]) - static_cast<int>(zeros[g])) * f16_to_f32(scales[g]);
  }
  bool operator==(const QuantizedLinear&) const = default;
};

// The same as a file holds it, for whoever takes that apart elsewhere: the layout's tensors of codes, zero points and
// scales.
struct StoredLinear {
  Layout layout = Layout::kGemm;
  int64_t n = 0, k = 0;
  int group = 128;  // > 0, divides k
  std::vector<std::byte> codes, zeros, scales;
  std::vector<f16_t> bias;  // (n) or empty
};

}  // namespace awq::format
