// Work on the weights of one linear. All pointers are device memory; shapes are the caller's promise.
#pragma once
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/cuda/quant/stored.h"

namespace awq::backend::cuda::quant {

struct Inspection {
  unsigned long long bad = 0;            // values that are not finite ...
  unsigned long long first_bad = ~0ull;  // ... and the first of them
  unsigned int largest_bits = 0;         // of the largest |w|
};

// Fills `*found`, which the caller has initialised; f16 (n, k) too unless null.
cudaError_t inspect(const Weight&, __half* f16, Inspection* found, cudaStream_t);

// inverse[r][g] = 1 / (max|w| of the row's group + 1e-6)
cudaError_t inverse_largest(const Weight&, int64_t group, float* inverse, cudaStream_t);

// sum[c] += sum over rows of |w[r][c]| * inverse[r][c / group], or of w^2 where inverse is null. `partial` holds
// column_sum_parts(n) * k doubles.
int64_t column_sum_parts(int64_t n);
cudaError_t add_column_sums(const Weight&, const float* inverse, int64_t group, double* partial, double* sum,
                            cudaStream_t);

struct PackedArrays {
  uint8_t* q = nullptr;      // (n, k), a code a byte
  __half* scales = nullptr;  // (n, k / group)
  uint8_t* zeros = nullptr;  // (n, k / group)
};
// limits (n, k / group) or null are of w * columns; rows divide them too.
cudaError_t pack(const Weight&, const Folding&, const float* limits, const GroupGrid&, const PackedArrays&,
                 cudaStream_t);

// delta[i][r] = w[r][channels[i]] - what the codes stand for.
cudaError_t salient_delta(const Weight&, const Folding&, const GroupGrid&, const PackedArrays&, const int32_t* channels,
                          int64_t count, __half* delta, cudaStream_t);

// out (n, k) in float32, folded.
cudaError_t fold_weight(const Weight&, const Folding&, float* out, cudaStream_t);

}  // namespace awq::backend::cuda::quant
