#include "format/packing.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "awq/error.h"
#include "core/checked.h"

namespace awq::format {
namespace {

uint64_t tensor_bytes(const EncodedTensor& t) {
  uint64_t bytes = dtype_bytes(t.dtype);
  for (const int64_t extent : t.shape) bytes = checked_mul(bytes, static_cast<uint64_t>(extent), "tensor size");
  return bytes;
}

[[noreturn]] void bad(const std::string& what) { throw Error(ErrorKind::kBadInput, what); }

void check_codes(std::span<const uint8_t> codes, const char* what) {
  uint8_t seen = 0;
  for (const uint8_t code : codes) seen |= code;
  if (seen > 15) bad(fmt::format("{} holds a code above 15, which would spill into its neighbours", what));
}

void check_symmetric(const LayoutRow& row, const QuantizedLinear& w) {
  const auto other = std::find_if(w.zeros.begin(), w.zeros.end(), [](uint8_t zero) { return zero != kSymmetricZero; });
  if (other == w.zeros.end()) return;
  bad(
      fmt::format("output feature {} has a zero point of {}, and {} has none: write a layout with zero points, or "
                  "quantize the original with --sym",
                  (other - w.zeros.begin()) / w.groups(), *other, row.name));
}

// The tensor as planned, or Error(kBadInput) saying what is missing or differs.
const EncodedTensor& require(const TensorSource& source, const EncodedTensor& planned) {
  const EncodedTensor* t = source(planned.suffix);
  if (t == nullptr) bad(fmt::format("{} is missing", planned.suffix));
  if (t->dtype != planned.dtype && !(planned.or_bf16 && t->dtype == Dtype::kBF16))
    bad(fmt::format("{} has dtype {}, {} is needed", planned.suffix, dtype_name(t->dtype), dtype_name(planned.dtype)));
  if (t->shape != planned.shape)
    bad(fmt::format("{} has shape [{}], [{}] is needed", planned.suffix, fmt::join(t->shape, ", "),
                    fmt::join(planned.shape, ", ")));
  if (t->bytes.size() != tensor_bytes(planned))
    bad(fmt::format("{} has {} bytes, {} are needed", planned.suffix, t->bytes.size(), tensor_bytes(planned)));
  return *t;
}

void check_finite(std::span<const f16_t> values, std::string_view suffix, int64_t per_row) {
  const auto found = std::find_if_not(values.begin(), values.end(), is_finite_f16);
  if (found == values.end()) return;
  bad(fmt::format("{} holds {} for output feature {}: the weights were damaged before or while they were quantized",
                  suffix, f16_to_f32(*found), (found - values.begin()) / per_row));
}

}  // namespace

EncodedTensor described(std::string suffix, Dtype dtype, std::vector<int64_t> shape) {
  return {.suffix = std::move(suffix), .dtype = dtype, .shape = std::move(shape), .bytes = {}};
}

EncodedTensor zero_filled(const EncodedTensor& described) {
  EncodedTensor t = described;
  t.bytes.assign(tensor_bytes(t), std::byte{0});
  return t;
}

std::string size_refusal(int64_t n, int64_t k, int group) {
  if (n < 1 || k < 1 || group < 1)
    return fmt::format("sizes must be positive, n = {}, k = {}, group = {}", n, k, group);
  if (k % group != 0) return fmt::format("the group must divide k, k = {}, group = {}", k, group);
  return "";
}

std::string multiple_refusal(std::string_view layout, std::string_view what, int64_t size, int64_t step) {
  return size % step == 0 ? "" : fmt::format("{} needs {} % {} == 0, {} = {}", layout, what, step, what, size);
}

int64_t padded_groups(int64_t k, int group) {
  const int64_t step = group >= 128 ? 1 : group == 64 ? 2 : group == 32 ? 4 : 0;  // words read together
  if (step == 0) return 0;
  const int64_t words = (k / group + kCodesPerWord - 1) / kCodesPerWord;
  return (words + step - 1) / step * step * kCodesPerWord;
}

std::string padded_group_refusal(std::string_view layout, int group) {
  return padded_groups(group, group) != 0
             ? ""
             : fmt::format("{} needs a group of 32, 64 or at least 128, group = {}", layout, group);
}

bool fits(const EncodedTensor& planned, const EncodedTensor& found) {
  const bool dtype = found.dtype == planned.dtype || (planned.or_bf16 && found.dtype == Dtype::kBF16);
  return dtype && found.suffix == planned.suffix && found.shape == planned.shape;
}

void check_encodable(const LayoutRow& row, const QuantizedLinear& w) {
  if (w.bits != 4) bad(fmt::format("{} holds 4-bit codes, bits = {}", row.name, w.bits));
  if (const std::string why = row.refusal(w.n, w.k, w.group); !why.empty()) bad(why);
  const size_t groups = static_cast<size_t>(w.n * w.groups());
  AWQ_ASSERT(w.q.size() == static_cast<size_t>(w.n * w.k));
  AWQ_ASSERT(w.scales.size() == groups && w.zeros.size() == groups);
  AWQ_ASSERT(w.bias.empty() || w.bias.size() == static_cast<size_t>(w.n));
  check_codes(w.q, "q");
  check_codes(w.zeros, "zeros");
  if (!row.zero_points) check_symmetric(row, w);
  check_finite(w.scales, "scales", w.groups());
}

std::vector<const EncodedTensor*> require_planned(const LayoutRow& row, const TensorSource& source, int64_t n,
                                                  int64_t k, int group) {
  if (const std::string why = row.refusal(n, k, group); !why.empty()) bad(why);
  std::vector<const EncodedTensor*> found;
  for (const EncodedTensor& planned : row.plan(n, k, group)) found.push_back(&require(source, planned));
  return found;
}

QuantizedLinear sized_linear(int64_t n, int64_t k, int group) {
  QuantizedLinear w;
  w.n = n;
  w.k = k;
  w.group = group;
  w.q.resize(checked_mul(n, k, "n * k"));
  w.scales.resize(n * w.groups());
  w.zeros.resize(n * w.groups());
  return w;
}

void append_bias(std::vector<EncodedTensor>& out, const QuantizedLinear& w) {
  if (w.bias.empty()) return;
  out.push_back(zero_filled(described("bias", Dtype::kF16, {w.n})));
  std::memcpy(out.back().bytes.data(), w.bias.data(), out.back().bytes.size());
}

void finish_decoding(const TensorSource& source, std::string_view scales, QuantizedLinear& w) {
  if (source("bias") != nullptr) {
    const EncodedTensor& bias = require(source, described("bias", Dtype::kF16, {w.n}));
    w.bias.resize(w.n);
    std::memcpy(w.bias.data(), bias.bytes.data(), bias.bytes.size());
    check_finite(w.bias, "bias", 1);
  }
  check_finite(w.scales, scales, w.groups());
}

void pack_pairs(const uint8_t* codes, int64_t pairs, std::byte* out) {
  for (int64_t b = 0; b < pairs; ++b) out[b] = static_cast<std::byte>(codes[2 * b] | codes[2 * b + 1] << 4);
}

void unpack_pairs(const std::byte* in, int64_t pairs, uint8_t* codes) {
  for (int64_t b = 0; b < pairs; ++b) {
    const uint8_t byte = static_cast<uint8_t>(in[b]);
    codes[2 * b] = byte & 15;
    codes[2 * b + 1] = byte >> 4;
  }
}

}  // namespace awq::format
