// y in float64, straight from the definition and from codes one a byte: shares no code and no layout with any kernel.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

namespace awq::backend::cuda::lab {

struct PlainLinear {
  int64_t n = 0, k = 0;
  int group = 128;
  const uint8_t *q = nullptr, *z = nullptr;  // (n, k), (n, k / group)
  const void* s = nullptr;                   // f16 (n, k / group)
};

// Tokens that are compared: all of m when it is small, else `count` spread over 0..m-1 so that, tile by tile of any
// size, other rows are met.
struct TokenSample {
  int64_t m = 1, count = 1;
  __host__ __device__ int64_t token(int64_t i) const {
    const int64_t step = m / count;
    return i * m / count + i % (step > 0 ? step : 1);
  }
};
inline constexpr int64_t kMostTokensCompared = 128;
inline TokenSample sample_tokens(int64_t m) { return {m, m < kMostTokensCompared ? m : kMostTokensCompared}; }

// ref (sample.count, n) f64.
void reference_forward(double* ref, const PlainLinear&, const void* x, bool bf16, TokenSample, cudaStream_t);

struct Difference {
  double squared_error = 0, squared_reference = 0;
  unsigned long long not_finite = 0;  // of all m x n outputs: poison that was never overwritten among them
};
// Adds to `sum` (device memory, zero before).
void compare(Difference* sum, const void* y, bool bf16, const double* ref, int64_t n, TokenSample, cudaStream_t);

// Adds the number of 16-bit words that differ to `count` (device memory).
void count_differing(unsigned long long* count, const void* a, const void* b, int64_t words, cudaStream_t);

}  // namespace awq::backend::cuda::lab
