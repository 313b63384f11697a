// W4A16_AWQ as NVIDIA's Model Optimizer exports it, for TensorRT-LLM: symmetric, two output features a byte.
//
//   weight[r][k]          uint8 (n/2, k)
//     bit 7      4 3      0
//        [ 2r + 1 |   2r   ]   the signed code q - 8 in two's complement: our q with its highest bit flipped
//   weight_scale[n][g]    fp32 (n, k/group)
//   pre_quant_scale[k]    fp16 (k), of o_proj and down_proj: what their input is multiplied by
//
// Model Optimizer keeps AWQ's scales of o_proj and down_proj there, and TensorRT-LLM wants the tensor to be there; ours
// are folded into the linear before, so that all are 1. Written after exports of Model Optimizer 0.47.0, whose packing
// tools/interop_torch.py compares with.
#include <fmt/format.h>

#include <algorithm>

#include "awq/error.h"
#include "format/layouts.h"
#include "format/packing.h"

namespace awq::format {
namespace {

constexpr uint8_t kSign = 8;
constexpr f16_t kOne = f32_to_f16(1.f);
constexpr std::string_view kScaledInputs[] = {".o_proj", ".down_proj"};
constexpr std::string_view kInputScale = "pre_quant_scale";

std::vector<EncodedTensor> plan(int64_t n, int64_t k, int group) {
  return {described("weight", Dtype::kU8, {n / 2, k}), described("weight_scale", Dtype::kF32, {n, k / group})};
}

std::string refusal(int64_t n, int64_t k, int group) {
  if (std::string why = size_refusal(n, k, group); !why.empty()) return why;
  return multiple_refusal("modelopt", "n", n, 2);
}

std::vector<EncodedTensor> extras(std::string_view module, int64_t k) {
  if (std::none_of(std::begin(kScaledInputs), std::end(kScaledInputs),
                   [&](std::string_view name) { return module.ends_with(name); }))
    return {};
  EncodedTensor ones = zero_filled(described(std::string(kInputScale), Dtype::kF16, {k}));
  for (int64_t i = 0; i < k; ++i) store(ones, i, kOne);
  return {ones};
}

std::vector<EncodedTensor> encode(const QuantizedLinear& w) {
  check_encodable(kModeloptRow, w);
  std::vector<EncodedTensor> out;
  for (const EncodedTensor& t : plan(w.n, w.k, w.group)) out.push_back(zero_filled(t));
  for (int64_t r = 0; r < w.n / 2; ++r) {
    const uint8_t *low = w.q.data() + 2 * r * w.k, *high = low + w.k;
    for (int64_t k = 0; k < w.k; ++k)
      store<uint8_t>(out[0], r * w.k + k, static_cast<uint8_t>((low[k] ^ kSign) | (high[k] ^ kSign) << 4));
  }
  for (size_t i = 0; i < w.scales.size(); ++i) store(out[1], static_cast<int64_t>(i), f16_to_f32(w.scales[i]));
  append_bias(out, w);
  return out;
}

// Model Optimizer's own exports have input scales that are not 1, and float32 scales: neither is one of our linears.
void refuse_input_scale(const TensorSource& source, int64_t k) {
  const EncodedTensor* t = source(kInputScale);
  if (t == nullptr) return;
  bool ones = t->bytes.size() == k * sizeof(f16_t) && t->dtype == Dtype::kF16;
  for (int64_t i = 0; ones && i < k; ++i) ones = load<f16_t>(*t, i) == kOne;
  if (!ones)
    throw Error(ErrorKind::kBadInput,
                "pre_quant_scale is not 1 throughout: exports of Model Optimizer itself are not read, quantize the "
                "original model");
}

f16_t exact_scale(float scale, int64_t row) {
  const f16_t half = f32_to_f16(scale);
  if (f16_to_f32(half) != scale && scale == scale)
    throw Error(
        ErrorKind::kBadInput,
        fmt::format("weight_scale holds {} for output feature {}, which fp16 cannot: exports of Model Optimizer "
                    "itself are not read, quantize the original model",
                    scale, row));
  return half;
}

QuantizedLinear decode(const TensorSource& source, int64_t n, int64_t k, int group) {
  const auto tensors = require_planned(kModeloptRow, source, n, k, group);
  refuse_input_scale(source, k);
  QuantizedLinear w = sized_linear(n, k, group);
  for (int64_t r = 0; r < n / 2; ++r) {
    uint8_t *low = w.q.data() + 2 * r * k, *high = low + k;
    for (int64_t c = 0; c < k; ++c) {
      const uint8_t byte = load<uint8_t>(*tensors[0], r * k + c);
      low[c] = (byte & 15) ^ kSign;
      high[c] = (byte >> 4) ^ kSign;
    }
  }
  for (size_t i = 0; i < w.scales.size(); ++i)
    w.scales[i] = exact_scale(load<float>(*tensors[1], static_cast<int64_t>(i)), static_cast<int64_t>(i) / w.groups());
  std::fill(w.zeros.begin(), w.zeros.end(), kSymmetricZero);
  finish_decoding(source, "weight_scale", w);
  return w;
}

}  // namespace

constinit const LayoutRow kModeloptRow = {
    .layout = Layout::kModelopt,
    .name = "modelopt",
    .what = "W4A16_AWQ of NVIDIA's Model Optimizer, without zero points: TensorRT-LLM",
    .method = "modelopt",
    .declared_by = "\"quant_method\": \"modelopt\" with \"quant_algo\": \"W4A16_AWQ\"",
    .codes = "weight",
    .caution = "made for TensorRT-LLM; write gemm or compressed-tensors for vLLM and SGLang",
    .zero_points = false,
    .whole_rows = false,
    .symmetric = Layout::kModelopt,
    .size =
        [](int64_t rows, int64_t cols) {
          return LinearSize{rows * 2, cols};
        },
    .plan = plan,
    .refusal = refusal,
    .encode = encode,
    .decode = decode,
    .config_json = modelopt_config_json,
    .extras = extras,
    .side_file = "hf_quant_config.json",
    .side_file_text = hf_quant_config_json};

}  // namespace awq::format
