// Dense products through cuBLASLt, which is opened at first use: the plugin starts on machines that do not have it. The
// one thing this library keeps between calls: the opened library and a handle a device, both made once.
#pragma once
#include <cuda_runtime_api.h>
#include <library_types.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace awq::backend::cuda {

inline constexpr size_t kCublasLtWorkspace = size_t{32} << 20;  // what cuBLAS documents for Hopper

// y (m, n) = x (m, k) w', sums in float32.
struct DenseProduct {
  int64_t m = 0, n = 0, k = 0;
  cudaDataType type = CUDA_R_16F, y_type = CUDA_R_16F;
  const void *x = nullptr, *w = nullptr;  // (m, k), (n, k)
  void* y = nullptr;
  void* workspace = nullptr;  // kCublasLtWorkspace bytes
  cudaStream_t stream = nullptr;
};

// "" when the current device has it; else why not, with the remedy. Opens the library.
const std::string& why_no_cublaslt();

// With the algorithm that the library's heuristic names first, or, by `rank`, one of the next. Throws Failure.
void multiply(const DenseProduct&, int rank = 0);

// How many of the heuristic's first `most` algorithms there are for the product.
int count_algorithms(const DenseProduct&, int most);

}  // namespace awq::backend::cuda
