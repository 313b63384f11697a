// gemv_fast: four output features interleaved in tiles of 64 input features, zero points folded into an fp16 offset.
//
//   qweight[b][64 t + p]  int16 (n/4, k)   rows 4b .. 4b+3; within tile t, p = 16 r + 8 h + j  (r < 4, h < 2, j < 8):
//     bit 15   12 11    8 7     4 3     0
//        [ j+24  |  j+16 |  j+8  |   j   ]  + 64 t + 32 h  of row 4b + r
//   scales[g][n]   fp16 (8 zw, n)          0 beyond the last group; zw as in gemv.cc
//   qzeros[g][n]   fp16 (8 zw, n)          -(scale * zero point), rounded once to fp16; w = q * scale + qzeros
//
// Source: the closed form of pack_intweight (interleave 4, stride 64) in AutoAWQ 0.2.9, worked out in docs/formats.md.
//
// The zero point comes back exactly. Let p = s * z, exact in float32 (11 + 4 bits), and c = fp16(p) what is stored.
// Where c is normal, |c - p| <= 2^-11 |p|, so |c / s - z| <= 15 * 2^-11 < 0.0074 and rounding to an integer gives z.
// Where c is subnormal, p is a multiple of 2^-24 because s is, hence c = p. For s = 0 nothing is stored of z, and
// nothing depends on it: decode gives 0.
#include <cmath>

#include "awq/error.h"
#include "format/layouts.h"
#include "format/packing.h"

#include <fmt/format.h>

namespace awq::format {
namespace {

constexpr int64_t kRows = 4, kTileK = 64, kHalfK = 32, kRunK = 8;  // a run: 8 words, 8 consecutive k in each nibble

// Twice the 0.0074 that one rounding can cost, so that a writer that rounds s * z twice is still understood.
constexpr float kZeroTolerance = 1.f / 64;

std::vector<EncodedTensor> plan(int64_t n, int64_t k, int group) {
  const int64_t padded = padded_groups(k, group);
  return {described("qweight", Dtype::kI16, {n / kRows, k}), described("qzeros", Dtype::kF16, {padded, n}),
          described("scales", Dtype::kF16, {padded, n})};
}

std::string refusal(int64_t n, int64_t k, int group) {
  if (std::string why = size_refusal(n, k, group); !why.empty()) return why;
  if (std::string why = multiple_refusal("gemv_fast", "n", n, 8); !why.empty()) return why;  // AutoAWQ asserts 8, not 4
  if (std::string why = multiple_refusal("gemv_fast", "k", k, kTileK); !why.empty()) return why;
  return padded_group_refusal("gemv_fast", group);
}

// Calls body(first of 32 codes, first of their 8 words) for each half tile, both as element numbers.
template <class Body>
void for_each_half_tile(int64_t n, int64_t k, Body&& body) {
  for (int64_t b = 0; b < n / kRows; ++b)
    for (int64_t t = 0; t < k; t += kTileK)
      for (int64_t r = 0; r < kRows; ++r)
        for (int64_t h = 0; h < 2; ++h) body((b * kRows + r) * k + t + h * kHalfK, b * k + t + r * 16 + h * kRunK);
}

void pack(const QuantizedLinear& w, EncodedTensor& out) {
  for_each_half_tile(w.n, w.k, [&](int64_t code, int64_t word) {
    const uint8_t* q = w.q.data() + code;
    uint16_t words[kRunK];
    for (int j = 0; j < kRunK; ++j)
      words[j] = static_cast<uint16_t>(q[j] | q[j + 8] << 4 | q[j + 16] << 8 | q[j + 24] << 12);
    std::memcpy(out.bytes.data() + word * sizeof(uint16_t), words, sizeof words);
  });
}

void unpack(const EncodedTensor& in, QuantizedLinear& w) {
  for_each_half_tile(w.n, w.k, [&](int64_t code, int64_t word) {
    uint16_t words[kRunK];
    std::memcpy(words, in.bytes.data() + word * sizeof(uint16_t), sizeof words);
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < kRunK; ++j) w.q[code + i * kRunK + j] = (words[j] >> (4 * i)) & 15;
  });
}

f16_t encode_zero(f16_t scale, uint8_t zero) {
  const f16_t product = f32_to_f16(-(f16_to_f32(scale) * zero));
  if (!is_finite_f16(product))
    throw Error(ErrorKind::kBadInput,
                fmt::format("scale {} times zero point {} is beyond fp16, which gemv_fast stores it in: "
                            "write gemm or gemv instead",
                            f16_to_f32(scale), zero));
  return product;
}

uint8_t decode_zero(f16_t scale, f16_t offset, int64_t row) {
  const float s = f16_to_f32(scale), o = f16_to_f32(offset);
  if (s == 0 && o == 0) return 0;
  const float zero = -o / s, nearest = std::nearbyint(zero);
  if (std::abs(zero - nearest) <= kZeroTolerance && nearest >= 0 && nearest <= 15) return static_cast<uint8_t>(nearest);
  throw Error(ErrorKind::kBadInput,
              fmt::format("qzeros holds {} for output feature {}, which is not -scale * zero with scale {} "
                          "and a zero point of 0 .. 15: the checkpoint is damaged",
                          o, row, s));
}

std::vector<EncodedTensor> encode(const QuantizedLinear& w) {
  check_encodable(kGemvFastRow, w);
  std::vector<EncodedTensor> out;
  for (const EncodedTensor& t : plan(w.n, w.k, w.group)) out.push_back(zero_filled(t));
  const int64_t groups = w.groups();
  pack(w, out[0]);
  for (int64_t n = 0; n < w.n; ++n)
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t from = n * groups + g, to = g * w.n + n;
      store(out[1], to, encode_zero(w.scales[from], w.zeros[from]));
      store(out[2], to, w.scales[from]);
    }
  append_bias(out, w);
  return out;
}

QuantizedLinear decode(const TensorSource& source, int64_t n, int64_t k, int group) {
  const auto tensors = require_planned(kGemvFastRow, source, n, k, group);
  QuantizedLinear w = sized_linear(n, k, group);
  const int64_t groups = w.groups();
  unpack(*tensors[0], w);
  for (int64_t row = 0; row < n; ++row)
    for (int64_t g = 0; g < groups; ++g) w.scales[row * groups + g] = load<f16_t>(*tensors[2], g * n + row);
  finish_decoding(source, "scales", w);  // before the zero points, which divide by the scales
  for (int64_t row = 0; row < n; ++row)
    for (int64_t g = 0; g < groups; ++g)
      w.zeros[row * groups + g] = decode_zero(w.scales[row * groups + g], load<f16_t>(*tensors[1], g * n + row), row);
  return w;
}

}  // namespace

constinit const LayoutRow kGemvFastRow = {
    .layout = Layout::kGemvFast,
    .name = "gemv_fast",
    .what = "four output features interleaved, zero points as fp16 offsets (AutoAWQ, llm-awq kernels)",
    .method = "awq",
    .declared_by = "\"version\": \"gemv_fast\"",
    .codes = "qweight",
    .caution = kVllmMisreads,
    .symmetric = Layout::kGemvFast,
    .size =
        [](int64_t rows, int64_t cols) {
          return LinearSize{rows * kRows, cols};
        },
    .plan = plan,
    .refusal = refusal,
    .encode = encode,
    .decode = decode,
    .config_json = autoawq_config_json};

}  // namespace awq::format
