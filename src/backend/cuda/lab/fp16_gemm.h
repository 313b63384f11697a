// The product a dense model would run, through cuBLAS: y (m, n) = x (m, k) w' with f16 operands, f32 sums.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "backend/cuda/cuda_objects.h"

namespace awq::backend::cuda::lab {

class Fp16Gemm {
 public:
  Fp16Gemm();  // throws Error(kDevice) with the remedy when cuBLAS is not there
  ~Fp16Gemm();

  struct Operands {
    int64_t m = 1, n = 0, k = 0;
    const void *x = nullptr, *w = nullptr;  // f16 (m, k), (n, k)
    void* y = nullptr;                      // f16 (m, n)
  };
  using Run = std::function<void(const Operands&, cudaStream_t)>;
  // Ways to run this shape: cublasGemmEx and the first few of cuBLASLt's heuristic. They live as long as this object.
  std::vector<Run> candidates(int64_t m, int64_t n, int64_t k);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace awq::backend::cuda::lab
