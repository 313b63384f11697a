// The steps of the search that are not matrix products. All pointers are device memory.
#pragma once
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/cuda/quant/stored.h"

namespace awq::backend::cuda::quant {

// d[j] = 2^floor(log2(sqrt(H[j][j]))), 1 where that is 0 or not finite; then |H[i][j]| / (d[i] d[j]) <= 4, and float16
// holds it with all its digits. H (k, k), of which the blocks of kBand columns on and below the diagonal are filled.
inline constexpr int64_t kBand = 1024;
cudaError_t normalisers(const float* gram, int64_t k, float* d, cudaStream_t);

// t[i][j] = H[i][j] / (d[i] d[j]), doubled below the blocks of the diagonal: x H x' = x t x' for every row x, and the
// blocks above the diagonal, never read, need not be multiplied.
cudaError_t normalise_gram(const float* gram, const float* d, int64_t k, __half* t, cudaStream_t);

enum class Clamp { kNone, kSteps, kLimits };
inline constexpr int kClipSteps = 10;  // limits max|w| * (1 - i/20), i = 0 .. 9: AutoAWQ's n_grid 20, max_shrink 0.5

// Several versions of some rows of a linear: out[v][r] = (Q(clamp(w[r] s[v])) - w[r] s[v]) * weigh[v].
struct Differences {
  Weight w;
  GroupGrid grid;
  int64_t first_row = 0, rows = 0, versions = 1;
  const float *scale = nullptr, *weigh = nullptr;  // (versions, k), or (k) with version_stride 0
  int64_t version_stride = 0;
  Clamp clamp = Clamp::kNone;     // kSteps: version v clamps at step v
  const float* limits = nullptr;  // kLimits: (n, k / group)
  __half* out = nullptr;          // (versions, rows, k)
};
cudaError_t differences(const Differences&, cudaStream_t);

// row_loss[r] += sum over c of p[r][c] * d[r][first_col + c], c < cols; p (rows, kBand), d (rows, k).
cudaError_t add_row_dots(const float* p, const __half* d, int64_t rows, int64_t k, int64_t first_col, int64_t cols,
                         double* row_loss, cudaStream_t);

// losses[v] += sum over r of row_loss[v][r].
cudaError_t add_version_losses(const double* row_loss, int64_t versions, int64_t rows, double* losses, cudaStream_t);

// For each row and group the limit of the step of least error; among equals the widest.
struct BestSteps {
  Differences d;             // as they were made, clamp kSteps
  const float* p = nullptr;  // (kClipSteps * rows, kBand): d times the group's block, columns from first_col on
  int64_t first_col = 0, cols = 0;
  const double* row_loss = nullptr;  // instead of p where a row is one group: (kClipSteps, rows)
  float* limits = nullptr;           // (n, k / group)
};
cudaError_t best_steps(const BestSteps&, cudaStream_t);

// w (n, k) rounded under one scale, as float16: Q(w s) / s; columns where keep is not 0 stay as they are.
cudaError_t round_weight(const Weight&, const GroupGrid&, const float* scale, const uint8_t* keep, __half* out,
                         cudaStream_t);

}  // namespace awq::backend::cuda::quant
