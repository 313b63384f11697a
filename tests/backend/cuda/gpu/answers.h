// The float64 answer to a whole problem, and how far from it float32 sums may be.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "awq/cuda.h"
#include "backend/w4a16_cases.h"

namespace awq::backend::cuda::testing {

using namespace awq::testing;

// What a row makes of a weight before the product.
// s (q - z) exactly; rounded once to the type of x; or q, with s and z settled on the sum: s (sum q x) - s z (sum x).
enum class Weights { kExact, kRounded, kIntegers };

Weights weights_of(std::string_view row, awq_cuda_type type, int64_t group);

struct Answers {
  std::vector<double> value, terms;  // (m, n); terms: the sum of |what is added|
};

// x of the case must be representable in `type`.
Answers solve(const Case& c, awq_cuda_type type, Weights weights);

// |y - value| is at most error * terms before y is rounded; see answers.cc.
double error_of_terms(const Case& c, Weights weights);

// y (m, n) against the answer: the same number where nothing rounds; else within that bound and y's own rounding.
void expect_exact(const std::vector<uint16_t>& y, const Case& c, awq_cuda_type type);
void expect_within_bound(const std::vector<uint16_t>& y, const Case& c, awq_cuda_type type, Weights weights);

// The same for several y of one case.
void expect_equal(const std::vector<uint16_t>& y, const Answers& answers, const Case& c, awq_cuda_type type);
void expect_near(const std::vector<uint16_t>& y, const Answers& answers, const Case& c, awq_cuda_type type,
                 Weights weights);

}  // namespace awq::backend::cuda::testing
