// What the layout files share: checks on sizes and tensors, and how scales and zero points are padded.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "format/registry.h"

namespace awq::format {

static_assert(std::endian::native == std::endian::little, "safetensors words are little-endian and copied as they are");

inline constexpr int kCodesPerWord = 8;       // 4-bit codes in an int32
inline constexpr uint8_t kSymmetricZero = 8;  // the zero point of every symmetric code

// Codes 8c + kWordOrder[i] sit in nibble i: the order in which AWQ's kernels take the halves of a word apart.
inline constexpr int kWordOrder[kCodesPerWord] = {0, 2, 4, 6, 1, 3, 5, 7};

EncodedTensor described(std::string suffix, Dtype, std::vector<int64_t> shape);  // without data
EncodedTensor zero_filled(const EncodedTensor& described);

// "" or why no layout holds such a linear: sizes below 1, a group that does not divide k.
std::string size_refusal(int64_t n, int64_t k, int group);
// "" or "gemm needs n % 8 == 0, n = 100"; `what` is "n" or "k".
std::string multiple_refusal(std::string_view layout, std::string_view what, int64_t size, int64_t step);

// Columns of AutoAWQ's padded scales for gemv and gemv_fast, 8 * zw: its kernels read zero points in aligned int32
// words, for groups below 128 two or four words at a time. 0 for a group size that has no such rule.
int64_t padded_groups(int64_t k, int group);
std::string padded_group_refusal(std::string_view layout, int group);

// Throws unless `row` can hold the linear and its arrays have the sizes and ranges they should have.
void check_encodable(const LayoutRow& row, const QuantizedLinear&);

// The planned tensors in order, or Error(kBadInput) when the layout cannot hold that size or a tensor is missing or
// differs. Nothing is allocated from n, k and group before the tensors have agreed with them.
std::vector<const EncodedTensor*> require_planned(const LayoutRow&, const TensorSource&, int64_t n, int64_t k,
                                                  int group);
QuantizedLinear sized_linear(int64_t n, int64_t k, int group);  // all arrays zero, no bias
void append_bias(std::vector<EncodedTensor>&, const QuantizedLinear&);
// Last step of every decode: the bias, where there is one; then NaN and infinity are refused, in `scales` by that
// suffix.
void finish_decoding(const TensorSource&, std::string_view scales, QuantizedLinear&);

// LayoutRow::stored where codes, zero points and scales are what is planned, in this order.
template <Layout kLayout>
std::optional<StoredLinear> stored_as_planned(std::vector<EncodedTensor> planned, const TensorSource&, int64_t n,
                                              int64_t k, int group) {
  return StoredLinear{.layout = kLayout,
                      .n = n,
                      .k = k,
                      .group = group,
                      .codes = std::move(planned[0].bytes),
                      .zeros = std::move(planned[1].bytes),
                      .scales = std::move(planned[2].bytes),
                      .bias = {}};
}
// Zero points and scales as gemv stores them; q is not looked at.
struct GemvGroups {
  std::vector<std::byte> zeros, scales;
};
GemvGroups gemv_groups(const QuantizedLinear&);

// Natural order: byte b of the little-endian words holds codes 2b (low) and 2b + 1 (high).
void pack_pairs(const uint8_t* codes, int64_t pairs, std::byte* out);
void unpack_pairs(const std::byte* in, int64_t pairs, uint8_t* codes);

// What gemv and gemv_fast tell whoever writes them.
inline constexpr std::string_view kVllmMisreads =
    "vLLM ignores the layout's name and misreads this one; write gemm for it (awq picks its kernels for any layout)";

template <class T>
T load(const EncodedTensor& t, int64_t index) {
  T value;
  std::memcpy(&value, t.bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}
template <class T>
void store(EncodedTensor& t, int64_t index, T value) {
  std::memcpy(t.bytes.data() + index * sizeof(T), &value, sizeof(T));
}

}  // namespace awq::format
