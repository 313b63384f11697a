// gemv: one row of words an output feature, codes in natural order, so that one warp streams one dot product.
//
//   qweight[n][c]  int32 (n, k/8)     input feature 8c + ...
//     bit 31  28 27  24 23  20 19  16 15  12 11   8 7    4 3    0
//        [  7  |   6  |   5  |   4  |   3  |   2  |   1  |   0  ]
//   qzeros[n][c]   int32 (n, zw)      zero point of group 8c + ..., same order; 0 beyond the last group
//   scales[n][g]   fp16  (n, 8 zw)    0 beyond the last group
//   zw = ceil(k / group / 8) rounded up to a multiple of 1, 2 or 4 for a group of >= 128, 64 or 32
//
// Source: WQLinear_GEMV.from_linear and calculate_zeros_width of AutoAWQ 0.2.9.
#include "format/layouts.h"
#include "format/packing.h"

namespace awq::format {
namespace {

// AutoAWQ allocates k // 32 * 4 words a row and its kernel loads 16 bytes at a time.
constexpr int64_t kStepK = 32;

std::vector<EncodedTensor> plan(int64_t n, int64_t k, int group) {
  const int64_t padded = padded_groups(k, group);
  return {described("qweight", Dtype::kI32, {n, k / kCodesPerWord}),
          described("qzeros", Dtype::kI32, {n, padded / kCodesPerWord}), described("scales", Dtype::kF16, {n, padded})};
}

std::string refusal(int64_t n, int64_t k, int group) {
  if (std::string why = size_refusal(n, k, group); !why.empty()) return why;
  if (std::string why = multiple_refusal("gemv", "k", k, kStepK); !why.empty()) return why;
  return padded_group_refusal("gemv", group);
}

std::vector<EncodedTensor> encode(const QuantizedLinear& w) {
  check_encodable(kGemvRow, w);
  std::vector<EncodedTensor> out;
  for (const EncodedTensor& t : plan(w.n, w.k, w.group)) out.push_back(zero_filled(t));
  pack_pairs(w.q.data(), w.n * w.k / 2, out[0].bytes.data());
  GemvGroups groups = gemv_groups(w);
  out[1].bytes = std::move(groups.zeros), out[2].bytes = std::move(groups.scales);
  append_bias(out, w);
  return out;
}

QuantizedLinear decode(const TensorSource& source, int64_t n, int64_t k, int group) {
  const auto tensors = require_planned(kGemvRow, source, n, k, group);
  QuantizedLinear w = sized_linear(n, k, group);
  const int64_t groups = w.groups(), padded = padded_groups(k, group);
  unpack_pairs(tensors[0]->bytes.data(), n * k / 2, w.q.data());
  std::vector<uint8_t> zeros(padded);
  for (int64_t row = 0; row < n; ++row) {
    unpack_pairs(tensors[1]->bytes.data() + row * padded / 2, padded / 2, zeros.data());
    std::memcpy(w.zeros.data() + row * groups, zeros.data(), groups);
    std::memcpy(w.scales.data() + row * groups, tensors[2]->bytes.data() + row * padded * sizeof(f16_t),
                groups * sizeof(f16_t));
  }
  finish_decoding(source, "scales", w);
  return w;
}

}  // namespace

GemvGroups gemv_groups(const QuantizedLinear& w) {
  const int64_t groups = w.groups(), padded = padded_groups(w.k, w.group);
  GemvGroups out{std::vector<std::byte>(w.n * padded / 2), std::vector<std::byte>(w.n * padded * sizeof(f16_t))};
  std::vector<uint8_t> zeros(padded);  // of one row; the padding stays 0
  for (int64_t n = 0; n < w.n; ++n) {
    std::memcpy(zeros.data(), w.zeros.data() + n * groups, groups);
    pack_pairs(zeros.data(), padded / 2, out.zeros.data() + n * padded / 2);
    std::memcpy(out.scales.data() + n * padded * sizeof(f16_t), w.scales.data() + n * groups, groups * sizeof(f16_t));
  }
  return out;
}

constinit const LayoutRow kGemvRow = {
    .layout = Layout::kGemv,
    .name = "gemv",
    .what = "a row of words an output feature, for one sequence at a time (AutoAWQ, GPTQModel)",
    .method = "awq",
    .declared_by = "\"version\": \"gemv\"",
    .codes = "qweight",
    .caution = kVllmMisreads,
    .symmetric = Layout::kGemv,
    .size =
        [](int64_t rows, int64_t cols) {
          return LinearSize{rows, cols * kCodesPerWord};
        },
    .plan = plan,
    .refusal = refusal,
    .encode = encode,
    .decode = decode,
    .config_json = autoawq_config_json,
    .stored = stored_as_planned<Layout::kGemv>};

}  // namespace awq::format
