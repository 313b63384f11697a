// Quantized linears for the layout tests, and a TensorSource over what encode() returned.
#pragma once
#include <algorithm>
#include <cstring>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "format/registry.h"

namespace awq::format {

// q[n][k] = code(n, k), all zero points and scales the same.
template <class Code>
QuantizedLinear linear_of(int64_t n, int64_t k, int group, Code&& code) {
  QuantizedLinear w{.n = n, .k = k, .group = group, .bits = 4, .q = {}, .scales = {}, .zeros = {}, .bias = {}};
  w.scales.assign(n * w.groups(), f32_to_f16(0.5f));
  w.zeros.assign(n * w.groups(), 8);
  for (int64_t row = 0; row < n; ++row)
    for (int64_t col = 0; col < k; ++col) w.q.push_back(static_cast<uint8_t>(code(row, col) % 16));
  return w;
}

inline QuantizedLinear random_linear(int64_t n, int64_t k, int group, bool bias, unsigned seed) {
  std::mt19937 random(seed);
  QuantizedLinear w = linear_of(n, k, group, [&](int64_t, int64_t) { return random(); });
  for (f16_t& s : w.scales) s = static_cast<f16_t>(1 + random() % 0x5fff);  // positive, subnormal to 512
  for (uint8_t& z : w.zeros) z = random() % 16;
  for (int64_t i = 0; bias && i < n; ++i) w.bias.push_back(f32_to_f16(static_cast<float>(random() % 1000) - 500));
  return w;
}

// The same with the zero points that a row without any can hold.
inline QuantizedLinear storable(QuantizedLinear w, const LayoutRow& row) {
  if (!row.zero_points) w.zeros.assign(w.zeros.size(), 8);
  return w;
}

// The row as a part of a test's name, where only letters, digits and '_' may stand.
inline std::string test_name(const LayoutRow& row) {
  std::string name(row.name);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

inline TensorSource source_of(const std::vector<EncodedTensor>& tensors) {
  return [&tensors](std::string_view suffix) -> const EncodedTensor* {
    for (const EncodedTensor& t : tensors)
      if (t.suffix == suffix) return &t;
    return nullptr;
  };
}

template <class Word>
std::vector<Word> words_of(const EncodedTensor& t) {
  std::vector<Word> words(t.bytes.size() / sizeof(Word));
  std::memcpy(words.data(), t.bytes.data(), t.bytes.size());
  return words;
}

struct Size {
  int64_t n, k;
  int group;
};
inline std::ostream& operator<<(std::ostream& out, const Size& s) {
  return out << "n=" << s.n << " k=" << s.k << " group=" << s.group;
}

// Ragged against every tile of the layouts: 8 and 128 outputs, 64 inputs, groups that leave padding.
inline constexpr Size kSizes[] = {{8, 64, 64},     {8, 64, 32},     {16, 128, 128}, {24, 192, 64},   {40, 320, 32},
                                  {136, 640, 128}, {72, 1408, 128}, {8, 192, 192},  {264, 4160, 64}, {16, 11008, 128}};

}  // namespace awq::format
