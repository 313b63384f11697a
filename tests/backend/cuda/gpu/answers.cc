#include "backend/cuda/gpu/answers.h"

#include <algorithm>
#include <array>

#include "backend/cuda/gpu/device_case.h"

namespace awq::backend::cuda::testing {
namespace {

// Rows that have one accumulator for all of k, so that the scale must be inside the weight.
constexpr std::array<std::string_view, 2> kRowsThatRound = {"gemm_w4a16_wgmma_sm90a", "gemm_dequant_cublaslt"};
// Integers as float16 products with one pair of scale and zero point for 64 k at least; else it rounds, too.
constexpr std::string_view kRowOfIntegers = "gemv_w4a16_bulk_sm90a";

// (k, n): the inner loop below runs over n and is vectorized.
std::vector<double> dequantized(const Case& c, awq_cuda_type type, Weights weights) {
  const auto& [m, n, k, group] = c.shape;
  std::vector<double> w(static_cast<size_t>(k * n));
  for (int64_t row = 0; row < n; ++row)
    for (int64_t col = 0; col < k; ++col) {
      const float exact = c.linear.dequantized(row, col);  // 5 + 11 bits: exact in float32
      w[col * n + row] = weights == Weights::kRounded ? from_bits(to_bits(exact, type), type) : exact;
    }
  return w;
}

// (k, n): s (q + z), what a row of integers adds up where the others add s (q - z).
std::vector<double> magnitudes(const Case& c) {
  const auto& [m, n, k, group] = c.shape;
  std::vector<double> w(static_cast<size_t>(k * n));
  for (int64_t row = 0; row < n; ++row)
    for (int64_t col = 0; col < k; ++col) {
      const size_t g = static_cast<size_t>(row * (k / group) + col / group);
      w[col * n + row] = std::abs(f16_to_f32(c.linear.scales[g])) * (c.linear.q[row * k + col] + c.linear.zeros[g]);
    }
  return w;
}

// Half a unit in the last place, relative.
double unit_roundoff(awq_cuda_type type) { return type == AWQ_CUDA_BF16 ? 0x1p-8 : 0x1p-11; }

void add_channel(double x, const double* w, int64_t n, double* value, double* terms) {
  for (int64_t row = 0; row < n; ++row) {
    const double term = x * w[row];
    value[row] += term;
    terms[row] += std::abs(term);
  }
}

}  // namespace

Weights weights_of(std::string_view row, awq_cuda_type type, int64_t group) {
  if (row == kRowOfIntegers) return type == AWQ_CUDA_F16 && group >= 64 ? Weights::kIntegers : Weights::kRounded;
  const bool rounds = std::find(kRowsThatRound.begin(), kRowsThatRound.end(), row) != kRowsThatRound.end();
  return rounds ? Weights::kRounded : Weights::kExact;
}

Answers solve(const Case& c, awq_cuda_type type, Weights weights) {
  const auto& [m, n, k, group] = c.shape;
  const std::vector<double> w = dequantized(c, type, weights);
  const std::vector<double> sizes = weights == Weights::kIntegers ? magnitudes(c) : std::vector<double>();
  std::vector<double> delta, bias;
  for (const f16_t d : c.salient.delta) delta.push_back(f16_to_f32(d));
  for (const f16_t b : c.linear.bias) bias.push_back(f16_to_f32(b));
  Answers all{std::vector<double>(m * n), std::vector<double>(m * n)};
  for (int64_t t = 0; t < m; ++t) {
    double *value = all.value.data() + t * n, *terms = all.terms.data() + t * n;
    const float* x = c.x.data() + t * k;
    for (int64_t col = 0; col < k; ++col) add_channel(x[col], w.data() + col * n, n, value, terms);
    if (weights == Weights::kIntegers) {
      std::fill(terms, terms + n, 0.0);
      for (int64_t col = 0; col < k; ++col)
        for (int64_t row = 0; row < n; ++row) terms[row] += std::abs(x[col]) * sizes[col * n + row];
    }
    for (size_t i = 0; i < c.salient.index.size(); ++i)
      add_channel(x[c.salient.index[i]], delta.data() + i * n, n, value, terms);
    if (!bias.empty()) add_channel(1, bias.data(), n, value, terms);
  }
  return all;
}

// A tensor core takes 16 of k a step: products exact, then 17 addends cut off 23 bits below the largest of them, which
// is no larger than the sum of all |terms| that share the accumulator: 17 * 2^-23 a step. Float32 units without tensor
// cores round once a product and sum, 2^-24 each: less. Rows with exact weights start a new accumulator with each group
// (or more often) and round twice when they scale and add it; then come the partial sums of at most 64 warps, blocks or
// shares of k, and the epilogue's correction and bias.
double error_of_terms(const Case& c, Weights weights) {
  const double step = 17 * 0x1p-23, rounding = 0x1p-24;
  const double accumulator = static_cast<double>(weights == Weights::kRounded ? c.shape.k : c.shape.group);
  const double groups = static_cast<double>(c.shape.k / c.shape.group);
  return step * std::ceil(accumulator / 16) + rounding * ((weights == Weights::kIntegers ? 4 : 2) * groups + 64 +
                                                          static_cast<double>(c.salient.index.size()) + 2);
}

void expect_equal(const std::vector<uint16_t>& y, const Answers& answers, const Case& c, awq_cuda_type type) {
  for (size_t i = 0; i < y.size(); ++i)
    ASSERT_EQ(from_bits(y[i], type), from_bits(to_bits(static_cast<float>(answers.value[i]), type), type))
        << "token " << i / c.shape.n << " row " << i % c.shape.n;
}

void expect_near(const std::vector<uint16_t>& y, const Answers& answers, const Case& c, awq_cuda_type type,
                 Weights weights) {
  const double relative = error_of_terms(c, weights), u = unit_roundoff(type);
  for (size_t i = 0; i < y.size(); ++i) {
    const double error = relative * answers.terms[i];
    ASSERT_NEAR(from_bits(y[i], type), answers.value[i], error + u * (std::abs(answers.value[i]) + error) + 0x1p-25)
        << "token " << i / c.shape.n << " row " << i % c.shape.n;
  }
}

void expect_exact(const std::vector<uint16_t>& y, const Case& c, awq_cuda_type type) {
  expect_equal(y, solve(c, type, Weights::kExact), c, type);
}

void expect_within_bound(const std::vector<uint16_t>& y, const Case& c, awq_cuda_type type, Weights weights) {
  expect_near(y, solve(c, type, weights), c, type, weights);
}

}  // namespace awq::backend::cuda::testing
