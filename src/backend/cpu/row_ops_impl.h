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

struct Full {};  // all sixteen lanes
struct Part {    // the last lanes of a row
  int64_t count;
};

AWQ_LANE_FN Lanes get(const float* x, Full, float = 0.f) { return load(x); }
AWQ_LANE_FN Lanes get(const float* x, Part part, float fill = 0.f) { return load_part(x, part.count, fill); }
AWQ_LANE_FN void put(float* x, const Lanes& a, Full) { store(x, a); }
AWQ_LANE_FN void put(float* x, const Lanes& a, Part part) { store_part(x, a, part.count); }

// Calls body(i, Full) for each sixteen elements and body(i, Part) for what is left: two copies of the body, because a
// test in the loop would keep the compiler from holding sums in registers.
template <class Body>
AWQ_LANE_FN void for_lanes(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, Full{});
  if (i < n) body(i, Part{n - i});
}

#define AWQ_ROW_OP __attribute__((flatten))  // inlines the bodies

AWQ_ROW_OP void rms_norm(const float* x, const float* weight, float eps, float* y, int64_t n) {
  Lanes squares = splat(0.f);
  for_lanes(n, [&](int64_t i, auto lanes) {
    const Lanes v = get(x + i, lanes);
    squares = squares + v * v;
  });
  const Lanes scale = splat(1.f / sqrtf(sum(squares) / static_cast<float>(n) + eps));
  for_lanes(n, [&](int64_t i, auto lanes) { put(y + i, get(x + i, lanes) * scale * get(weight + i, lanes), lanes); });
}

AWQ_ROW_OP void rotate(float* x, const float* cos, const float* sin, int64_t half) {
  for_lanes(half, [&](int64_t i, auto lanes) {
    const Lanes a = get(x + i, lanes), b = get(x + half + i, lanes), c = get(cos + i, lanes), s = get(sin + i, lanes);
    put(x + i, a * c - b * s, lanes);
    put(x + half + i, b * c + a * s, lanes);
  });
}

AWQ_ROW_OP void softmax(float* x, float scale, int64_t n) {
  Lanes top = splat(-INFINITY), total = splat(0.f);
  for_lanes(n, [&](int64_t i, auto lanes) { top = max(top, get(x + i, lanes, -INFINITY)); });
  const Lanes shift = splat(largest(top)), factor = splat(scale);
  for_lanes(n, [&](int64_t i, auto lanes) {
    put(x + i, exp((get(x + i, lanes) - shift) * factor), lanes);
    total = total + get(x + i, lanes);  // read back so that lanes past the end add 0, not e^-shift
  });
  const Lanes inverse = splat(1.f / sum(total));
  for_lanes(n, [&](int64_t i, auto lanes) { put(x + i, get(x + i, lanes) * inverse, lanes); });
}

AWQ_ROW_OP void silu_mul(float* gate, const float* up, int64_t n) {
  const Lanes one = splat(1.f), zero = splat(0.f);
  for_lanes(n, [&](int64_t i, auto lanes) {
    const Lanes g = get(gate + i, lanes);
    put(gate + i, g / (one + exp(zero - g)) * get(up + i, lanes), lanes);
  });
}

AWQ_ROW_OP void add(float* y, const float* x, int64_t n) {
  for_lanes(n, [&](int64_t i, auto lanes) { put(y + i, get(y + i, lanes) + get(x + i, lanes), lanes); });
}

// Four rows at a time: x is loaded once for them and their sums overlap.
AWQ_ROW_OP void dot_rows(const float* x, const float* rows, int64_t stride, int64_t keys, float* out, int64_t n) {
  for (; keys >= 4; keys -= 4, rows += 4 * stride, out += 4) {
    Lanes a = splat(0.f), b = a, c = a, d = a;
    for_lanes(n, [&](int64_t i, auto lanes) {
      const Lanes xs = get(x + i, lanes);
      a = a + xs * get(rows + i, lanes);
      b = b + xs * get(rows + stride + i, lanes);
      c = c + xs * get(rows + 2 * stride + i, lanes);
      d = d + xs * get(rows + 3 * stride + i, lanes);
    });
    out[0] = sum(a), out[1] = sum(b), out[2] = sum(c), out[3] = sum(d);
  }
  for (; keys > 0; --keys, rows += stride, ++out) {
    Lanes a = splat(0.f);
    for_lanes(n, [&](int64_t i, auto lanes) { a = a + get(x + i, lanes) * get(rows + i, lanes); });
    *out = sum(a);
  }
}

// Four registers' worth of `out` at a time, so that its sums stay in registers over all rows.
AWQ_ROW_OP void add_weighted_rows(const float* weight, const float* rows, int64_t stride, int64_t keys, float* out,
                                  int64_t n) {
  for (; n >= 4 * kLanes; n -= 4 * kLanes, rows += 4 * kLanes, out += 4 * kLanes) {
    Lanes a = load(out), b = load(out + kLanes), c = load(out + 2 * kLanes), d = load(out + 3 * kLanes);
    for (int64_t j = 0; j < keys; ++j) {
      const Lanes w = splat(weight[j]);
      const float* row = rows + j * stride;
      a = a + w * load(row);
      b = b + w * load(row + kLanes);
      c = c + w * load(row + 2 * kLanes);
      d = d + w * load(row + 3 * kLanes);
    }
    store(out, a), store(out + kLanes, b), store(out + 2 * kLanes, c), store(out + 3 * kLanes, d);
  }
  for (int64_t j = 0; j < keys; ++j) {
    const Lanes w = splat(weight[j]);
    for_lanes(n, [&](int64_t i, auto lanes) {
      put(out + i, get(out + i, lanes) + w * get(rows + j * stride + i, lanes), lanes);
    });
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
