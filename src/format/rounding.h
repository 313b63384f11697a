// The 4-bit grid itself: what rounding a group of weights means, independent of any packed layout.
//
//   asymmetric  scale = (max(w, 0) - min(w, 0)) / 15      zero = round(-min / scale)     q = clamp(round(w / scale) +
//   zero, 0, 15) symmetric   scale = max|w| / 7                        zero = 8                       q = clamp(round(w
//   / scale) + 8, 0, 15)
//
// Zero lies inside the range always: groups of one sign or one value, which AutoAWQ's formula destroys, come out right.
// The scale is rounded to fp16, as it will be stored, before any q is computed from it. round() is half to even.
#pragma once
#include <cstdint>
#include <span>

#include "core/matrix_view.h"
#include "format/quantized_linear.h"

namespace awq::format {

struct Grid {
  int bits = 4;         // 2 .. 8
  int64_t group = 128;  // > 0
  bool zero_point = true;

  int max_code() const { return (1 << bits) - 1; }
};

struct GroupScale {
  float scale;
  float zero;
};  // scale holds an fp16 value; zero an integer in [0, max_code]

// For weights w[0, count) after clamping to [-limit, limit]; limit = infinity for none. Weights must be finite.
GroupScale fit_group(const float* w, int64_t count, const Grid&, float limit);

// out = dequantized codes of w clamped to +-limit; out may be w.
void round_group(const float* w, int64_t count, const Grid&, float limit, float* out);

// One row of k weights, k a multiple of the group; limits (k / group) or empty.
void round_row(const float* w, int64_t k, const Grid&, std::span<const float> limits, float* out);

// Codes, scales and zero points of rows [first, first + rows) of w into `out`, whose vectors have their final size.
void quantize_rows(MatrixView<const float> w, int64_t first, int64_t rows, std::span<const float> limits, const Grid&,
                   QuantizedLinear& out);

}  // namespace awq::format
