// What a decoder block does between its products, for calibration: whole windows, activations in float16, the residual
// stream in float32. All pointers are device memory.
#pragma once
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace awq::backend::cuda::quant {

// y = x / sqrt(mean(x^2) + eps) * weight, x (rows, cols).
cudaError_t rms_norm(const float* x, const float* weight, float eps, int64_t rows, int64_t cols, __half* y,
                     cudaStream_t);

struct Heads {
  __half* x = nullptr;          // (tokens, heads * head_dim), in place
  const float* bias = nullptr;  // (heads * head_dim) or null
  const float* norm = nullptr;  // (head_dim) or null
  const float* cos = nullptr;   // (window, head_dim / 2), null: not rotated
  const float* sin = nullptr;
  int64_t tokens = 0, heads = 0, head_dim = 0, window = 0;
  float eps = 0;
};
inline constexpr int64_t kMaxHeadDim = 256;
// Bias, head norm, rotation in the half layout: pairs are (x[i], x[i + head_dim / 2]). Row t stands at t % window.
cudaError_t finish_heads(const Heads&, cudaStream_t);

struct Attention {
  const __half *q = nullptr, *k = nullptr, *v = nullptr;  // (windows * window, heads or kv_heads * head_dim)
  __half* out = nullptr;                                  // like q
  int64_t windows = 0, window = 0, heads = 0, kv_heads = 0, head_dim = 0;
  int64_t sliding = 0;  // a token sees itself and the sliding - 1 before it; 0 = all before it
};
// head_dim is a multiple of 8, kMaxHeadDim at most.
cudaError_t attend(const Attention&, cudaStream_t);

// out = scale * silu(gate + gate_bias) * (up + up_bias), (rows, cols), cols even; biases (cols) or null.
cudaError_t silu_mul(const __half* gate, const __half* up, const float* gate_bias, const float* up_bias, int64_t rows,
                     int64_t cols, float scale, __half* out, cudaStream_t);

cudaError_t add_bias(float* y, const float* bias, int64_t rows, int64_t cols, cudaStream_t);  // y += bias

// sum[c] += scale * sum over rows of |x[r][c]|, in float64 and a fixed order. `partial`: abs_sum_parts(rows) * cols
// floats.
int64_t abs_sum_parts(int64_t rows);
cudaError_t add_abs_sums(const __half* x, int64_t rows, int64_t cols, double scale, float* partial, double* sum,
                         cudaStream_t);

// total += sum of (a - b)^2 over `count` values, in float64 and a fixed order; `partial` holds kDifferenceParts
// doubles.
inline constexpr int64_t kDifferenceParts = 512;
cudaError_t add_squared_difference(const float* a, const float* b, int64_t count, double* partial, double* total,
                                   cudaStream_t);

}  // namespace awq::backend::cuda::quant
