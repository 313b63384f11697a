// Rows of float weights as a checkpoint stores them; included by row_ops_impl.h inside its unnamed namespace.

AWQ_LANE_FN Lanes load_bf16(const uint16_t* w) {
  typedef uint16_t Half __attribute__((vector_size(kWidth * 2)));
  Lanes r;
  AWQ_EACH_PART {
    Half h;
    __builtin_memcpy(&h, w + p * kWidth, sizeof h);
    r.v[p] = (Vec)(__builtin_convertvector(h, Bits) << 16);
  }
  return r;
}

AWQ_LANE_FN Lanes load_f16(const uint16_t* w) {
  Lanes r;
#if defined(__AVX512F__)
  r.v[0] = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)));
#elif defined(__F16C__)
  AWQ_EACH_PART r.v[p] = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w) + p));
#else
  float t[kLanes];
  for (int i = 0; i < kLanes; ++i) t[i] = f16_to_f32(w[i]);
  r = load(t);
#endif
  return r;
}

struct F32Row {
  using Element = float;
  AWQ_LANE_FN Lanes lanes(const float* w) { return load(w); }
};
struct F16Row {
  using Element = uint16_t;
  AWQ_LANE_FN Lanes lanes(const uint16_t* w) { return load_f16(w); }
};
struct BF16Row {
  using Element = uint16_t;
  AWQ_LANE_FN Lanes lanes(const uint16_t* w) { return load_bf16(w); }
};

template <class Row>
AWQ_LANE_FN Lanes weights(const typename Row::Element* w, Full) {
  return Row::lanes(w);
}
template <class Row>  // the lanes past the end are 0: an element of all zero bits is 0 in every type
AWQ_LANE_FN Lanes weights(const typename Row::Element* w, Part part) {
  typename Row::Element t[kLanes] = {};
  for (int64_t i = 0; i < part.count; ++i) t[i] = w[i];
  return Row::lanes(t);
}

template <class Row>
AWQ_ROW_OP void widen(const void* w, float* out, int64_t n) {
  const auto* row = static_cast<const typename Row::Element*>(w);
  for_lanes(n, [&](int64_t i, auto lanes) { put(out + i, weights<Row>(row + i, lanes), lanes); });
}

// kM rows of x against one row of weights. Two chains of sums hide the adder's latency; every kM adds in the same
// order, so a row's result does not depend on how many rows are asked for together.
template <class Row, int kM>
AWQ_LANE_FN void dots_of(const typename Row::Element* w, int64_t k, const float* x, int64_t x_stride, float* y,
                         int64_t y_stride) {
  Lanes even[kM], odd[kM];
  for (int m = 0; m < kM; ++m) even[m] = odd[m] = splat(0.f);
  const int64_t pairs = k / (2 * kLanes) * (2 * kLanes);
  for (int64_t at = 0; at < pairs; at += 2 * kLanes) {
    const Lanes w0 = Row::lanes(w + at), w1 = Row::lanes(w + at + kLanes);
    for (int m = 0; m < kM; ++m) {
      even[m] = even[m] + w0 * load(x + m * x_stride + at);
      odd[m] = odd[m] + w1 * load(x + m * x_stride + at + kLanes);
    }
  }
  for_lanes(k - pairs, [&](int64_t i, auto lanes) {
    const Lanes w0 = weights<Row>(w + pairs + i, lanes);
    for (int m = 0; m < kM; ++m) even[m] = even[m] + w0 * get(x + m * x_stride + pairs + i, lanes);
  });
  for (int m = 0; m < kM; ++m) y[m * y_stride] = sum(even[m] + odd[m]);
}

template <class Row>
AWQ_ROW_OP void dots(const void* weight_row, int64_t k, const float* x, int64_t x_stride, int64_t m, float* y,
                     int64_t y_stride) {
  const auto* w = static_cast<const typename Row::Element*>(weight_row);
  for (; m >= 4; m -= 4, x += 4 * x_stride, y += 4 * y_stride) dots_of<Row, 4>(w, k, x, x_stride, y, y_stride);
  if (m == 3) dots_of<Row, 3>(w, k, x, x_stride, y, y_stride);
  if (m == 2) dots_of<Row, 2>(w, k, x, x_stride, y, y_stride);
  if (m == 1) dots_of<Row, 1>(w, k, x, x_stride, y, y_stride);
}
