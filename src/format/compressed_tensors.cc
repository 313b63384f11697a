// compressed-tensors "pack-quantized": vLLM's own format, a row of words an output feature.
//
//   weight_packed[n][c]      int32 (n, k/8)                input feature 8c + ...
//     bit 31  28 27  24 23  20 19  16 15  12 11   8 7    4 3    0
//        [  7  |   6  |   5  |   4  |   3  |   2  |   1  |   0  ]       the signed code q - 8, plus 8: our q
//   weight_scale[n][g]       fp16 (n, k/group)             a reader takes bf16 too
//   weight_zero_point[r][g]  int32 (ceil(n/8), k/group)    output feature 8r + ..., same order; 0 beyond the last
//   weight_shape             int64 (2)                     n, k
//
// W4A16_ASYM has the zero points, W4A16 leaves them out: all are 8 then. The format is defined for any k, padded to
// whole words; no model has such a k, and here k % 8 == 0.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "awq/error.h"
#include "core/half.h"
#include "format/layouts.h"
#include "format/packing.h"

namespace awq::format {
namespace {

enum Part : size_t { kPacked, kScale, kShape, kZeroPoint };  // order of the plan

std::vector<EncodedTensor> plan_symmetric(int64_t n, int64_t k, int group) {
  EncodedTensor scale = described("weight_scale", Dtype::kF16, {n, k / group});
  scale.or_bf16 = true;
  return {described("weight_packed", Dtype::kI32, {n, k / kCodesPerWord}), std::move(scale),
          described("weight_shape", Dtype::kI64, {2})};
}

std::vector<EncodedTensor> plan(int64_t n, int64_t k, int group) {
  std::vector<EncodedTensor> tensors = plan_symmetric(n, k, group);
  tensors.push_back(described("weight_zero_point", Dtype::kI32, {(n + kCodesPerWord - 1) / kCodesPerWord, k / group}));
  return tensors;
}

std::string refusal(int64_t n, int64_t k, int group) {
  if (std::string why = size_refusal(n, k, group); !why.empty()) return why;
  return multiple_refusal("compressed-tensors", "k", k, kCodesPerWord);
}

void store_zeros(const QuantizedLinear& w, EncodedTensor& out) {
  const int64_t groups = w.groups();
  for (int64_t n = 0; n < w.n; ++n)
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t word = n / kCodesPerWord * groups + g;
      const uint32_t code = uint32_t{w.zeros[n * groups + g]} << (4 * (n % kCodesPerWord));
      store(out, word, load<uint32_t>(out, word) | code);
    }
}

void load_zeros(const EncodedTensor& in, QuantizedLinear& w) {
  const int64_t groups = w.groups();
  for (int64_t n = 0; n < w.n; ++n)
    for (int64_t g = 0; g < groups; ++g)
      w.zeros[n * groups + g] = (load<uint32_t>(in, n / kCodesPerWord * groups + g) >> (4 * (n % kCodesPerWord))) & 15;
}

std::vector<EncodedTensor> encode(const QuantizedLinear& w, const LayoutRow& row) {
  check_encodable(row, w);
  std::vector<EncodedTensor> out;
  for (const EncodedTensor& t : row.plan(w.n, w.k, w.group)) out.push_back(zero_filled(t));
  pack_pairs(w.q.data(), w.n * w.k / 2, out[kPacked].bytes.data());
  std::memcpy(out[kScale].bytes.data(), w.scales.data(), out[kScale].bytes.size());
  store<int64_t>(out[kShape], 0, w.n);
  store<int64_t>(out[kShape], 1, w.k);
  if (row.zero_points) store_zeros(w, out[kZeroPoint]);
  append_bias(out, w);
  return out;
}

// A bf16 scale has 8 bits of precision, which fp16 holds exactly from 2^-14 to 65504; below, where the weights of a
// whole group are under 0.001, it is rounded to a multiple of 2^-24.
void load_scales(const EncodedTensor& in, QuantizedLinear& w) {
  if (in.dtype == Dtype::kF16) {
    std::memcpy(w.scales.data(), in.bytes.data(), in.bytes.size());
    return;
  }
  for (size_t i = 0; i < w.scales.size(); ++i)
    w.scales[i] = f32_to_f16(bf16_to_f32(load<bf16_t>(in, static_cast<int64_t>(i))));
}

void check_shape_tensor(const EncodedTensor& t, int64_t n, int64_t k) {
  const int64_t rows = load<int64_t>(t, 0), cols = load<int64_t>(t, 1);
  if (rows != n || cols != k)
    throw Error(ErrorKind::kBadInput, fmt::format("weight_shape says [{}, {}], config.json implies [{}, {}]: weights "
                                                  "and config.json are not of the same model",
                                                  rows, cols, n, k));
}

// Tensors that change what the others mean.
void refuse_extra(const TensorSource& source, const LayoutRow& row) {
  if (source("weight_g_idx") != nullptr)
    throw Error(
        ErrorKind::kBadInput,
        "weight_g_idx is there: input features were reordered (actorder \"group\"), so that groups are not runs "
        "of neighbours; quantize the original model with awq quantize, or with actorder \"static\"");
  if (!row.zero_points && source("weight_zero_point") != nullptr)
    throw Error(ErrorKind::kBadInput,
                "weight_zero_point is there, but quantization_config says that the weights are symmetric: set its "
                "\"symmetric\" to false if it is wrong");
}

QuantizedLinear decode(const TensorSource& source, int64_t n, int64_t k, int group, const LayoutRow& row) {
  const auto tensors = require_planned(row, source, n, k, group);
  refuse_extra(source, row);
  check_shape_tensor(*tensors[kShape], n, k);
  QuantizedLinear w = sized_linear(n, k, group);
  unpack_pairs(tensors[kPacked]->bytes.data(), n * k / 2, w.q.data());
  load_scales(*tensors[kScale], w);
  if (row.zero_points)
    load_zeros(*tensors[kZeroPoint], w);
  else
    std::fill(w.zeros.begin(), w.zeros.end(), kSymmetricZero);
  finish_decoding(source, "weight_scale", w);
  return w;
}

// The codes are gemv's, word for word; zero points and scales, a thirtieth of them, are brought into its order. What
// decode() may refuse is left to it.
std::optional<StoredLinear> stored(std::vector<EncodedTensor> planned, const TensorSource& source, int64_t n, int64_t k,
                                   int group, const LayoutRow& row) {
  if (!kGemvRow.refusal(n, k, group).empty() || source("weight_g_idx") != nullptr ||
      (!row.zero_points && source("weight_zero_point") != nullptr) || load<int64_t>(planned[kShape], 0) != n ||
      load<int64_t>(planned[kShape], 1) != k)
    return std::nullopt;
  QuantizedLinear w;
  w.n = n, w.k = k, w.group = group;
  w.scales.resize(n * w.groups());
  w.zeros.assign(w.scales.size(), kSymmetricZero);
  load_scales(planned[kScale], w);
  if (row.zero_points) load_zeros(planned[kZeroPoint], w);
  GemvGroups groups = gemv_groups(w);
  return StoredLinear{.layout = Layout::kGemv,
                      .n = n,
                      .k = k,
                      .group = group,
                      .codes = std::move(planned[kPacked].bytes),
                      .zeros = std::move(groups.zeros),
                      .scales = std::move(groups.scales),
                      .bias = {}};
}

LinearSize size(int64_t rows, int64_t cols) { return {rows, cols * kCodesPerWord}; }

}  // namespace

constinit const LayoutRow kCompressedTensorsRow = {
    .layout = Layout::kCompressedTensors,
    .name = "compressed-tensors",
    .what = "W4A16_ASYM of compressed-tensors: vLLM, SGLang, transformers",
    .method = "compressed-tensors",
    .declared_by = "\"quant_method\": \"compressed-tensors\" with \"symmetric\": false",
    .codes = "weight_packed",
    .symmetric = Layout::kCompressedTensorsSym,
    .size = size,
    .plan = plan,
    .refusal = refusal,
    .encode = [](const QuantizedLinear& w) { return encode(w, kCompressedTensorsRow); },
    .decode = [](const TensorSource& source, int64_t n, int64_t k,
                 int group) { return decode(source, n, k, group, kCompressedTensorsRow); },
    .config_json = compressed_tensors_config_json,
    .stored = [](std::vector<EncodedTensor> planned, const TensorSource& source, int64_t n, int64_t k,
                 int group) { return stored(std::move(planned), source, n, k, group, kCompressedTensorsRow); }};

constinit const LayoutRow kCompressedTensorsSymRow = {
    .layout = Layout::kCompressedTensorsSym,
    .name = "compressed-tensors-sym",
    .what = "W4A16 of compressed-tensors, without zero points: what --sym makes of compressed-tensors",
    .method = "compressed-tensors",
    .declared_by = "\"quant_method\": \"compressed-tensors\" with \"symmetric\": true",
    .codes = "weight_packed",
    .zero_points = false,
    .symmetric = Layout::kCompressedTensorsSym,
    .size = size,
    .plan = plan_symmetric,
    .refusal = refusal,
    .encode = [](const QuantizedLinear& w) { return encode(w, kCompressedTensorsSymRow); },
    .decode = [](const TensorSource& source, int64_t n, int64_t k,
                 int group) { return decode(source, n, k, group, kCompressedTensorsSymRow); },
    .config_json = compressed_tensors_config_json,
    .stored = [](std::vector<EncodedTensor> planned, const TensorSource& source, int64_t n, int64_t k,
                 int group) { return stored(std::move(planned), source, n, k, group, kCompressedTensorsSymRow); }};

}  // namespace awq::format
