// Sixteen float32 lanes, whatever the width of the machine's registers: every sum is formed lane by lane and the lanes
// are added in one fixed order, so that the portable, AVX2 and AVX-512 builds of a row operation return the same bits.
//
// Included only by row_ops_impl.h, inside an unnamed namespace: nothing here may be shared between translation units
// that are compiled for different instruction sets.
static constexpr int kLanes = 16;

#if defined(__AVX512F__)
static constexpr int kWidth = 16;
#elif defined(__AVX2__)
static constexpr int kWidth = 8;
#else
static constexpr int kWidth = 4;
#endif
static constexpr int kParts = kLanes / kWidth;

typedef float Vec __attribute__((vector_size(kWidth * 4)));
typedef uint32_t Bits __attribute__((vector_size(kWidth * 4)));

#define AWQ_LANE_FN static inline __attribute__((always_inline))
#define AWQ_EACH_PART for (int p = 0; p < kParts; ++p)

struct Lanes {
  Vec v[kParts];
};

AWQ_LANE_FN Lanes load(const float* x) {
  Lanes r;
  __builtin_memcpy(&r, x, sizeof r);
  return r;
}
AWQ_LANE_FN void store(float* x, const Lanes& a) { __builtin_memcpy(x, &a, sizeof a); }
AWQ_LANE_FN Lanes splat(float f) {
  Lanes r;
  AWQ_EACH_PART r.v[p] = f - Vec{};
  return r;
}
// The first `n` lanes from memory, the others `fill`.
AWQ_LANE_FN Lanes load_part(const float* x, int64_t n, float fill) {
  float t[kLanes];
  for (int i = 0; i < kLanes; ++i) t[i] = i < n ? x[i] : fill;
  return load(t);
}
AWQ_LANE_FN void store_part(float* x, const Lanes& a, int64_t n) {
  float t[kLanes];
  store(t, a);
  for (int i = 0; i < n; ++i) x[i] = t[i];
}

#define AWQ_LANE_OP(op)                                           \
  AWQ_LANE_FN Lanes operator op(const Lanes& a, const Lanes& b) { \
    Lanes r;                                                      \
    AWQ_EACH_PART r.v[p] = a.v[p] op b.v[p];                      \
    return r;                                                     \
  }
AWQ_LANE_OP(+)
AWQ_LANE_OP(-)
AWQ_LANE_OP(*)
AWQ_LANE_OP(/)
#undef AWQ_LANE_OP

// `a` where it is the larger or not a number.
AWQ_LANE_FN Lanes max(const Lanes& a, const Lanes& b) {
  Lanes r;
  AWQ_EACH_PART r.v[p] = a.v[p] < b.v[p] ? b.v[p] : a.v[p];
  return r;
}
AWQ_LANE_FN Lanes min(const Lanes& a, const Lanes& b) {
  Lanes r;
  AWQ_EACH_PART r.v[p] = a.v[p] > b.v[p] ? b.v[p] : a.v[p];
  return r;
}

// Halves added together until one number is left: 8 + 8, 4 + 4, 2 + 2, 1 + 1.
AWQ_LANE_FN float sum(const Lanes& a) {
  typedef float Eight __attribute__((vector_size(32)));
  typedef float Four __attribute__((vector_size(16)));
  Eight half[2];
  Four quarter[2];
  __builtin_memcpy(half, &a, sizeof half);
  half[0] = half[0] + half[1];
  __builtin_memcpy(quarter, half, sizeof quarter);
  const Four t = quarter[0] + quarter[1];
  return (t[0] + t[2]) + (t[1] + t[3]);
}
AWQ_LANE_FN float largest(const Lanes& a) {
  float t[kLanes];
  store(t, a);
  for (int step = kLanes / 2; step > 0; step /= 2)
    for (int i = 0; i < step; ++i) t[i] = t[i] < t[i + step] ? t[i + step] : t[i];
  return t[0];
}

// e^x = 2^n e^r, n = round(x / ln 2), |r| <= ln 2 / 2; e^r by its Taylor polynomial to r^7 (remainder below 2^-27). ln
// 2 is taken off in two pieces, the first short enough that n * piece is exact. Outside [-86, 88] the argument is
// clamped: e^-86 is 4e-38, nothing beside the 1 that a softmax row or a sigmoid adds it to. NaN stays NaN.
AWQ_LANE_FN Lanes exp(const Lanes& argument) {
  const Lanes x = min(max(argument, splat(-86.f)), splat(88.f));
  const Lanes round = splat(0x1.8p23f);  // adding it leaves round(x) in the low mantissa bits
  const Lanes t = x * splat(1.44269504f) + round, n = t - round;
  const Lanes r = x - n * splat(0.693359375f) - n * splat(-2.12194440e-4f);
  Lanes e = splat(1.f / 5040);
  for (const float c : {1.f / 720, 1.f / 120, 1.f / 24, 1.f / 6, 0.5f, 1.f, 1.f}) e = e * r + splat(c);
  Lanes out;
  AWQ_EACH_PART out.v[p] = (Vec)((Bits)e.v[p] + ((Bits)t.v[p] << 23));
  return out;
}
