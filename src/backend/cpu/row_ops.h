// What a decoder block does to one row: norm, rotation, softmax, activation, products with a row of float weights. One
// source, row_ops_impl.h, compiled once per instruction set; all builds return the same bits (see lanes.h).
#pragma once
#include <cstdint>
#include <span>

namespace awq::backend::cpu {

enum class StoredAs { kF32, kF16, kBF16 };  // element type of float weights in memory

struct WeightRowOps {
  void (*widen)(const void* w, float* out, int64_t n);
  // y[i * y_stride] = w . x_i for m rows x_i of length k.
  void (*dots)(const void* w, int64_t k, const float* x, int64_t x_stride, int64_t m, float* y, int64_t y_stride);
};

struct RowOps {
  const char* name;
  uint32_t features;  // CpuFeature bits it needs
  // y = x / sqrt(mean(x^2) + eps) * weight. y may be x.
  void (*rms_norm)(const float* x, const float* weight, float eps, float* y, int64_t n);
  // Half-rotation layout: pairs are (x[i], x[i + half]).
  void (*rotate)(float* x, const float* cos, const float* sin, int64_t half);
  // x = softmax(scale * x), in place.
  void (*softmax)(float* x, float scale, int64_t n);
  // gate = gate / (1 + e^-gate) * up
  void (*silu_mul)(float* gate, const float* up, int64_t n);
  void (*add)(float* y, const float* x, int64_t n);  // y += x
  // Attention of one query on `keys` rows of keys or values, `stride` apart: out[j] = x . row_j, and out += sum
  // weight[j] row_j.
  void (*dot_rows)(const float* x, const float* rows, int64_t stride, int64_t keys, float* out, int64_t n);
  void (*add_weighted_rows)(const float* weight, const float* rows, int64_t stride, int64_t keys, float* out,
                            int64_t n);
  WeightRowOps weights[3];  // by StoredAs
};

std::span<const RowOps> row_ops_table();  // best first, the portable one last
const RowOps& row_ops();                  // the best that this machine runs

}  // namespace awq::backend::cpu
