// The search for scales and limits on float32 weights (n, k): losses through the Gram matrix of the input, clipping,
// rounding. Results do not depend on the number of threads.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "core/matrix_view.h"
#include "core/thread_pool.h"
#include "format/quantized_linear.h"
#include "format/rounding.h"

namespace awq::backend::cpu {

// Statistics of the input that a group of linears reads.
struct InputStats {
  int64_t k = 0, tokens = 0;
  std::vector<double> abs_sum;  // (k)     sum over tokens of |x|
  std::vector<float> gram;      // (k, k)  sum over tokens of x x'
};

// Only tiles on and above the diagonal of the Gram matrix are filled: mirror_upper() at the end (float_gemm.h).
void add_tokens(ThreadPool&, MatrixView<const float> x, InputStats&);

// Statistics of x / s: H' = diag(1/s) H diag(1/s).
InputStats scaled_stats(const InputStats&, std::span<const float> scale);

// Mean over all rows of |w| / (max|w| of its row's group + 1e-6).
std::vector<float> weight_mean(std::span<const MatrixView<const float>> weights, int64_t group);

// tr(dW H dW') with dW = Q(W diag(s)) diag(1/s) - W for every candidate s; columns in `corrected` do not count.
std::vector<double> scale_losses(ThreadPool&, MatrixView<const float> weight, const InputStats&,
                                 std::span<const std::vector<float>> candidates, const format::Grid&,
                                 std::span<const int32_t> corrected);

// The same for one set of limits: |w| is clamped to limits (n, k / group) before rounding.
double clipped_loss(ThreadPool&, MatrixView<const float> weight, const InputStats&, std::span<const float> limits,
                    const format::Grid&, std::span<const int32_t> corrected);

// For each row and group the clamp (n, k / group), of max|w| * (1 - i/20), i = 0..9, with the least error over the
// group alone.
std::vector<float> clip_limits(ThreadPool&, MatrixView<const float> weight, const InputStats&, const format::Grid&,
                               std::span<const int32_t> corrected);

// limits (n, k / group) or empty.
format::QuantizedLinear quantize(ThreadPool&, MatrixView<const float> weight, std::span<const float> limits,
                                 const format::Grid&);

}  // namespace awq::backend::cpu
