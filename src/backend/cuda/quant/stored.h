// A matrix of weights on the device, in the element type of the checkpoint, and what folding has done to it since.
#pragma once
#include <cstdint>

namespace awq::backend::cuda::quant {

enum class Stored { kF32, kF16, kBF16 };
inline int64_t bytes_of(Stored type) { return type == Stored::kF32 ? 4 : 2; }

struct Weight {
  const void* data = nullptr;  // (n, k), row-major
  Stored type = Stored::kBF16;
  int64_t n = 0, k = 0;
};

// w as the checkpoint will hold it: w[r][c] * columns[c] / rows[r], in that order, as the CPU folds; null: 1.
struct Folding {
  const float* columns = nullptr;  // (k)
  const float* rows = nullptr;     // (n)
};

// Groups along k that share a scale and a zero point.
struct GroupGrid {
  int64_t group = 128;  // divides k
  bool symmetric = false;
};

}  // namespace awq::backend::cuda::quant
