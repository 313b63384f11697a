// The code behind row_ops.h. A .cc file per instruction set defines AWQ_ROW_OPS (the table row's name),
// AWQ_ROW_OPS_TEXT and AWQ_ROW_OPS_FEATURES, and includes this. Only loops and the lanes of lanes.h: an inline function
// of the standard library compiled here for AVX-512 could be the copy that the linker keeps for everybody.
#if defined(__F16C__)
#  include <immintrin.h>
#else
#  include "core/half.h"
#endif
#include <math.h>

#include <cstdint>

#include "awq/devices.h"
#include "backend/cpu/row_ops.h"

namespace awq::backend::cpu {
namespace {

#include "backend/cpu/lanes.h"

// Calls body(i, count): count lanes from i on, 16 but for the last call.
#define AWQ_FOR_LANES(n) \
  for (int64_t i = 0, count = 0; i < (n) && (count = (n)-i < kLanes ? (n)-i : kLanes, true); i += kLanes)

AWQ_LANE_FN Lanes get(const float* x, int64_t count, float fill = 0.f) {
  return count == kLanes ? load(x) : load_part(x, count, fill);
}
AWQ_LANE_FN void put(float* x, const Lanes& a, int64_t count) {
  if (count == kLanes) return store(x, a);
  store_part(x, a, count);
}

float dot(const float* a, const float* b, int64_t n) {
  Lanes acc = splat(0.f);
  AWQ_FOR_LANES(n) acc = acc + get(a + i, count) * get(b + i, count);
  return sum(acc);
}

void rms_norm(const float* x, const float* weight, float eps, float* y, int64_t n) {
  const Lanes scale = splat(1.f / sqrtf(dot(x, x, n) / static_cast<float>(n) + eps));
  AWQ_FOR_LANES(n) put(y + i, get(x + i, count) * scale * get(weight + i, count), count);
}

void rotate(float* x, const float* cos, const float* sin, int64_t half) {
  AWQ_FOR_LANES(half) {
    const Lanes a = get(x + i, count), b = get(x + half + i, count), c = get(cos + i, count), s = get(sin + i, count);
    put(x + i, a * c - b * s, count);
    put(x + half + i, b * c + a * s, count);
  }
}

void softmax(float* x, float scale, int64_t n) {
  Lanes top = splat(-INFINITY), total = splat(0.f);
  AWQ_FOR_LANES(n) top = max(top, get(x + i, count, -INFINITY));
  const Lanes shift = splat(largest(top)), factor = splat(scale);
  AWQ_FOR_LANES(n) {
    const Lanes e = exp((get(x + i, count) - shift) * factor);
    put(x + i, e, count);
    total = total + get(x + i, count);  // reads back so that lanes past the end add 0, not e^-shift
  }
  const Lanes inverse = splat(1.f / sum(total));
  AWQ_FOR_LANES(n) put(x + i, get(x + i, count) * inverse, count);
}

void silu_mul(float* gate, const float* up, int64_t n) {
  const Lanes one = splat(1.f), zero = splat(0.f);
  AWQ_FOR_LANES(n) {
    const Lanes g = get(gate + i, count);
    put(gate + i, g / (one + exp(zero - g)) * get(up + i, count), count);
  }
}

void add(float* y, const float* x, int64_t n) {
  AWQ_FOR_LANES(n) put(y + i, get(y + i, count) + get(x + i, count), count);
}

void dot_rows(const float* x, const float* rows, int64_t stride, int64_t keys, float* out, int64_t n) {
  for (int64_t j = 0; j < keys; ++j) out[j] = dot(x, rows + j * stride, n);
}

// Four registers' worth of `out` at a time, so that a sum stays in registers over all rows.
void add_weighted_rows(const float* weight, const float* rows, int64_t stride, int64_t keys, float* out, int64_t n) {
  constexpr int64_t kBlock = 4 * kLanes;
  int64_t at = 0;
  for (; at + kBlock <= n; at += kBlock) {
    Lanes a = load(out + at), b = load(out + at + kLanes), c = load(out + at + 2 * kLanes),
          d = load(out + at + 3 * kLanes);
    for (int64_t j = 0; j < keys; ++j) {
      const Lanes w = splat(weight[j]);
      const float* row = rows + j * stride + at;
      a = a + w * load(row);
      b = b + w * load(row + kLanes);
      c = c + w * load(row + 2 * kLanes);
      d = d + w * load(row + 3 * kLanes);
    }
    store(out + at, a), store(out + at + kLanes, b), store(out + at + 2 * kLanes, c), store(out + at + 3 * kLanes, d);
  }
  for (int64_t j = 0; j < keys; ++j) {
    const Lanes w = splat(weight[j]);
    const float* row = rows + j * stride + at;
    AWQ_FOR_LANES(n - at) put(out + at + i, get(out + at + i, count) + w * get(row + i, count), count);
  }
}

#include "backend/cpu/weight_rows_impl.h"

}  // namespace

extern const RowOps AWQ_ROW_OPS;
constinit const RowOps AWQ_ROW_OPS = {
    AWQ_ROW_OPS_TEXT,
    AWQ_ROW_OPS_FEATURES,
    rms_norm,
    rotate,
    softmax,
    silu_mul,
    add,
    dot_rows,
    add_weighted_rows,
    {{widen<F32Row>, dots<F32Row>}, {widen<F16Row>, dots<F16Row>}, {widen<BF16Row>, dots<BF16Row>}}};

}  // namespace awq::backend::cpu
