// Problems for the W4A16 kernels and the float64 answer, straight from the definition; shares no code with any kernel.
#pragma once
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "core/half.h"
#include "format/quantized_linear.h"
#include "format/salient.h"

namespace awq::testing {

struct Shape {
  int64_t m, n, k;
  int group;
};
inline std::string to_string(const Shape& s) {
  return "m" + std::to_string(s.m) + "_n" + std::to_string(s.n) + "_k" + std::to_string(s.k) + "_g" +
         std::to_string(s.group);
}

struct Case {
  Shape shape;
  format::QuantizedLinear linear;
  format::SalientColumns salient;
  std::vector<float> x;  // (m, k)
};

struct Ref {
  double value = 0, terms = 0, rounding = 0;
};

// `terms`: sum of |what the kernel adds|. `rounding`: what representing x by 16 bits a block may move.
inline Ref reference(const Case& c, int64_t token, int64_t row, int64_t block) {
  Ref ref;
  const int64_t group = c.linear.group;
  for (int64_t begin = 0; begin < c.shape.k; begin += group)
    for (int64_t b = begin; b < begin + group; b += block) {
      const int64_t end = std::min(b + block, begin + group);
      double largest = 0;
      for (int64_t k = b; k < end; ++k) largest = std::max<double>(largest, std::abs(c.x[token * c.shape.k + k]));
      for (int64_t k = b; k < end; ++k) {
        const double w = (c.linear.q[row * c.shape.k + k] - c.linear.zeros[row * c.linear.groups() + k / group]) *
                         double(f16_to_f32(c.linear.scales[row * c.linear.groups() + k / group]));
        ref.value += c.x[token * c.shape.k + k] * w;
        ref.terms += std::abs(c.x[token * c.shape.k + k] * w);
        ref.rounding += 0x1p-15 * largest * std::abs(w);
      }
    }
  for (size_t i = 0; i < c.salient.index.size(); ++i) {
    const double term =
        double(c.x[token * c.shape.k + c.salient.index[i]]) * f16_to_f32(c.salient.delta[i * c.shape.n + row]);
    ref.value += term;
    ref.terms += std::abs(term);
  }
  if (!c.linear.bias.empty()) {
    ref.value += f16_to_f32(c.linear.bias[row]);
    ref.terms += std::abs(f16_to_f32(c.linear.bias[row]));
  }
  return ref;
}

inline Case empty_case(const Shape& s) {
  Case c{s, {}, {}, std::vector<float>(s.m * s.k)};
  c.linear.n = s.n;
  c.linear.k = s.k;
  c.linear.group = s.group;
  c.linear.q.resize(s.n * s.k);
  c.linear.scales.resize(s.n * s.k / s.group);
  c.linear.zeros.resize(s.n * s.k / s.group);
  return c;
}

// Nothing rounds: x = +-1, q = z + {-1, 0, 1}, s = 2^-2 .. 2^2, so every sum is a multiple of 1/4 below 2^20.
inline Case exact_case(const Shape& s, uint32_t seed = 1) {
  Case c = empty_case(s);
  std::mt19937 random(seed);
  const auto pick = [&](int low, int high) { return low + static_cast<int>(random() % (high - low + 1)); };
  for (size_t g = 0; g < c.linear.zeros.size(); ++g) {
    c.linear.zeros[g] = static_cast<uint8_t>(pick(1, 14));
    c.linear.scales[g] = f32_to_f16(std::ldexp(1.f, pick(-2, 2)));
  }
  for (int64_t i = 0; i < s.n * s.k; ++i)
    c.linear.q[i] = static_cast<uint8_t>(c.linear.zeros[i / s.group] + pick(-1, 1));
  for (float& x : c.x) x = pick(0, 1) ? 1.f : -1.f;
  return c;
}

enum class Zeros { kAny, kSymmetric };

inline Case normal_case(const Shape& s, Zeros zeros, double salient_share, bool bias, uint32_t seed = 2) {
  Case c = empty_case(s);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (size_t g = 0; g < c.linear.zeros.size(); ++g) {
    c.linear.zeros[g] = static_cast<uint8_t>(zeros == Zeros::kSymmetric ? 8 : random() % 16);
    c.linear.scales[g] = f32_to_f16(0.01f + 0.02f * std::abs(normal(random)));
  }
  for (uint8_t& q : c.linear.q) q = static_cast<uint8_t>(random() % 16);
  for (float& x : c.x) x = normal(random) * (random() % 100 == 0 ? 30.f : 1.f);
  for (int64_t k = 0; k < s.k; ++k)
    if (random() % 10000 < salient_share * 10000) c.salient.index.push_back(static_cast<int32_t>(k));
  for (size_t i = 0; i < c.salient.index.size() * s.n; ++i)
    c.salient.delta.push_back(f32_to_f16(0.01f * normal(random)));
  for (int64_t i = 0; bias && i < s.n; ++i) c.linear.bias.push_back(f32_to_f16(normal(random)));
  return c;
}

}  // namespace awq::testing
