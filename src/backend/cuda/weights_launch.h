// Work on weights alone: between layouts, to and from floating point. Pointers are checked (arguments.h).
#pragma once
#include "awq/cuda.h"
#include "backend/cuda/linear_launch.h"

namespace awq::backend::cuda {

// Three arrays in the tile layout, writable.
struct TileArrays {
  TileLayout layout;
  void *qweight = nullptr, *scales = nullptr, *zeros = nullptr;
};
// The same as PLAIN: a code or zero point a byte, (n, k) and (n, k / group); f16 scales (n, k / group).
struct PlainArrays {
  void *q = nullptr, *zeros = nullptr, *scales = nullptr;
};

// `padded_groups`: columns of the scales of gemv files (format::padded_groups); other layouts do not look at it.
cudaError_t repack(const awq_cuda_source& from, int64_t padded_groups, const TileArrays& to, cudaStream_t);

// Several linears as one, in layout GEMM or GEMV: `rows` of each, together to.layout.n, one after the other; or, where
// `rows_in_turn` is not 0, so many rows of each of two in turn, each a multiple of it.
inline constexpr int kMostJoined = 3;
struct JoinedSource {
  int parts = 0;
  awq_cuda_source part[kMostJoined];
  int64_t rows[kMostJoined];
  int rows_in_turn = 0;
};
cudaError_t repack(const JoinedSource& from, int64_t padded_groups, const TileArrays& to, cudaStream_t);
cudaError_t unrepack(const TileArrays& from, const PlainArrays& to, cudaStream_t);

// w (n, k), row-major.
cudaError_t dequantize(const TileArrays& from, bool bf16, void* w, cudaStream_t);
// limits f32 (n, k / group) or null.
cudaError_t quantize(const void* w, bool bf16, const float* limits, bool symmetric, const TileArrays& to, cudaStream_t);

}  // namespace awq::backend::cuda
