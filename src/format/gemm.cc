// gemm: one row of words an input feature, so that a kernel reading a k-slice of many outputs loads whole lines.
//
//   qweight[k][c]  int32 (k, n/8)     column of output feature 8c + ...
//     bit 31  28 27  24 23  20 19  16 15  12 11   8 7    4 3    0
//        [  7  |   5  |   3  |   1  |   6  |   4  |   2  |   0  ]
//   qzeros[g][c]   int32 (k/group, n/8)   zero points, same order
//   scales[g][n]   fp16  (k/group, n)
//
// The order 0 2 4 6 1 3 5 7 lets a kernel mask a word with 0x000f000f and get features 0 and 1 in its two fp16 halves.
// Source: WQLinear_GEMM.from_linear of AutoAWQ 0.2.9 (`order_map`); checked against its worked words in the tests.
#include <algorithm>
#include <array>

#include "format/layouts.h"
#include "format/packing.h"

namespace awq::format {
namespace {

// A tile is transposed in a buffer: 64 input features x 16 words is 4 KB, and every row of it is one 64-byte line of
// qweight. Walking whole columns instead touches a new line for each word.
constexpr int64_t kTileK = 64, kTileWords = 16;
using Tile = std::array<std::array<uint32_t, kTileWords>, kTileK>;

std::vector<EncodedTensor> plan(int64_t n, int64_t k, int group) {
  return {described("qweight", Dtype::kI32, {k, n / kCodesPerWord}),
          described("qzeros", Dtype::kI32, {k / group, n / kCodesPerWord}),
          described("scales", Dtype::kF16, {k / group, n})};
}

std::string refusal(int64_t n, int64_t k, int group) {
  if (std::string why = size_refusal(n, k, group); !why.empty()) return why;
  return multiple_refusal("gemm", "n", n, kCodesPerWord);
}

// Calls body(first k, count of k, first word, count of words) for each tile of a (k, words) matrix.
template <class Body>
void for_each_tile(int64_t k, int64_t words, Body&& body) {
  for (int64_t w0 = 0; w0 < words; w0 += kTileWords)
    for (int64_t k0 = 0; k0 < k; k0 += kTileK) body(k0, std::min(kTileK, k - k0), w0, std::min(kTileWords, words - w0));
}

// codes (8 * words, k), a row an output feature -> out (k, words), and back. Used for q and for the zero points.
void pack(const uint8_t* codes, int64_t k, int64_t words, std::byte* out) {
  for_each_tile(k, words, [&](int64_t k0, int64_t rows, int64_t w0, int64_t columns) {
    Tile tile;
    for (int64_t c = 0; c < columns; ++c) {
      const uint8_t* first = codes + (w0 + c) * kCodesPerWord * k + k0;
      uint32_t column[kTileK] = {};  // filled one code row after the other: contiguous, so the compiler vectorizes it
      for (int i = 0; i < kCodesPerWord; ++i)
        for (int64_t r = 0; r < rows; ++r) column[r] |= uint32_t{first[kWordOrder[i] * k + r]} << (4 * i);
      for (int64_t r = 0; r < rows; ++r) tile[r][c] = column[r];
    }
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(out + ((k0 + r) * words + w0) * sizeof(uint32_t), tile[r].data(), columns * sizeof(uint32_t));
  });
}

void unpack(const std::byte* in, int64_t k, int64_t words, uint8_t* codes) {
  for_each_tile(k, words, [&](int64_t k0, int64_t rows, int64_t w0, int64_t columns) {
    Tile tile;
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(tile[r].data(), in + ((k0 + r) * words + w0) * sizeof(uint32_t), columns * sizeof(uint32_t));
    for (int64_t c = 0; c < columns; ++c) {
      uint8_t* first = codes + (w0 + c) * kCodesPerWord * k + k0;
      uint32_t column[kTileK];
      for (int64_t r = 0; r < rows; ++r) column[r] = tile[r][c];
      for (int i = 0; i < kCodesPerWord; ++i)
        for (int64_t r = 0; r < rows; ++r) first[kWordOrder[i] * k + r] = (column[r] >> (4 * i)) & 15;
    }
  });
}

std::vector<EncodedTensor> encode(const QuantizedLinear& w) {
  check_encodable(kGemmRow, w);
  std::vector<EncodedTensor> out;
  for (const EncodedTensor& t : plan(w.n, w.k, w.group)) out.push_back(zero_filled(t));
  const int64_t words = w.n / kCodesPerWord, groups = w.groups();
  pack(w.q.data(), w.k, words, out[0].bytes.data());
  pack(w.zeros.data(), groups, words, out[1].bytes.data());
  for (int64_t n = 0; n < w.n; ++n)
    for (int64_t g = 0; g < groups; ++g) store(out[2], g * w.n + n, w.scales[n * groups + g]);
  append_bias(out, w);
  return out;
}

QuantizedLinear decode(const TensorSource& source, int64_t n, int64_t k, int group) {
  const auto tensors = require_planned(kGemmRow, source, n, k, group);
  QuantizedLinear w = sized_linear(n, k, group);
  const int64_t words = n / kCodesPerWord, groups = w.groups();
  unpack(tensors[0]->bytes.data(), k, words, w.q.data());
  unpack(tensors[1]->bytes.data(), groups, words, w.zeros.data());
  for (int64_t row = 0; row < n; ++row)
    for (int64_t g = 0; g < groups; ++g) w.scales[row * groups + g] = load<f16_t>(*tensors[2], g * n + row);
  finish_decoding(source, "scales", w);
  return w;
}

}  // namespace

constinit const LayoutRow kGemmRow = {
    .layout = Layout::kGemm,
    .name = "gemm",
    .what = "a row of words an input feature: every AWQ loader reads it (vLLM, SGLang, transformers)",
    .method = "awq",
    .declared_by = "\"version\": \"gemm\"",
    .codes = "qweight",
    .symmetric = Layout::kGemm,
    .size =
        [](int64_t rows, int64_t cols) {
          return LinearSize{cols * kCodesPerWord, rows};
        },
    .plan = plan,
    .refusal = refusal,
    .encode = encode,
    .decode = decode,
    .config_json = autoawq_config_json,
    .stored = stored_as_planned<Layout::kGemm>};

}  // namespace awq::format
