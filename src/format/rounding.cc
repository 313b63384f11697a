#include "format/rounding.h"

#include <algorithm>
#include <limits>

namespace awq::format {
namespace {

constexpr int64_t kLanes = 16;  // independent running extremes: lets the compiler use vector min and max

struct Extremes {
  float low, high;
};  // both include 0

Extremes extremes(const float* w, int64_t count) {
  float low[kLanes] = {}, high[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int64_t l = 0; l < kLanes; ++l) {
      low[l] = w[i + l] < low[l] ? w[i + l] : low[l];
      high[l] = w[i + l] > high[l] ? w[i + l] : high[l];
    }
  for (; i < count; ++i) {
    low[0] = std::min(low[0], w[i]);
    high[0] = std::max(high[0], w[i]);
  }
  return {*std::min_element(low, low + kLanes), *std::max_element(high, high + kLanes)};
}

// Half to even for |x| < 2^22, without a libm call or a rounding-mode instruction, so that it vectorises everywhere.
inline float round_even(float x) { return (x + 12582912.f) - 12582912.f; }

inline float code(float w, float limit, const GroupScale& g, float max_code) {
  const float clamped = std::min(std::max(w, -limit), limit);
  const float q = round_even(clamped / g.scale) + g.zero;
  return std::min(std::max(q, 0.f), max_code);
}

// A group of zeros (or of values so small that fp16 would make the scale 0) still needs a scale that is not 0.
constexpr float kSmallestRange = 1e-5f;  // AutoAWQ's floor of max - min

}  // namespace

GroupScale fit_group(const float* w, int64_t count, const Grid& grid, float limit) {
  Extremes e = extremes(w, count);
  e.low = std::max(e.low, -limit);
  e.high = std::min(e.high, limit);
  const float codes = static_cast<float>(grid.max_code());
  if (!grid.zero_point) {
    const float half = static_cast<float>(1 << (grid.bits - 1));
    const float range = std::max(std::max(-e.low, e.high), kSmallestRange);
    return {round_to_f16(range / (half - 1)), half};
  }
  const float scale = round_to_f16(std::max(e.high - e.low, kSmallestRange) / codes);
  return {scale, std::min(std::max(round_even(-e.low / scale), 0.f), codes)};
}

void round_group(const float* w, int64_t count, const Grid& grid, float limit, float* out) {
  const GroupScale g = fit_group(w, count, grid, limit);
  const float max_code = static_cast<float>(grid.max_code());
  for (int64_t i = 0; i < count; ++i) out[i] = (code(w[i], limit, g, max_code) - g.zero) * g.scale;
}

void round_row(const float* w, int64_t k, const Grid& grid, std::span<const float> limits, float* out) {
  for (int64_t c = 0, g = 0; c < k; c += grid.group, ++g)
    round_group(w + c, grid.group, grid, limits.empty() ? std::numeric_limits<float>::infinity() : limits[g], out + c);
}

void quantize_rows(MatrixView<const float> w, int64_t first, int64_t rows, std::span<const float> limits,
                   const Grid& grid, QuantizedLinear& out) {
  const int64_t groups = w.cols / grid.group;
  const float max_code = static_cast<float>(grid.max_code());
  for (int64_t r = first; r < first + rows; ++r)
    for (int64_t g = 0; g < groups; ++g) {
      const float* src = w.row(r) + g * grid.group;
      const float limit = limits.empty() ? std::numeric_limits<float>::infinity() : limits[r * groups + g];
      const GroupScale s = fit_group(src, grid.group, grid, limit);
      out.scales[r * groups + g] = f32_to_f16(s.scale);
      out.zeros[r * groups + g] = static_cast<uint8_t>(s.zero);
      uint8_t* q = out.q.data() + r * w.cols + g * grid.group;
      for (int64_t i = 0; i < grid.group; ++i) q[i] = static_cast<uint8_t>(code(src[i], limit, s, max_code));
    }
}

}  // namespace awq::format
