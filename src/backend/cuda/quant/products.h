// The matrix products of quantization, through cuBLASLt: float16 in, sums in float32, row-major.
//
// Every product is made by an algorithm that adds up k in one order for each element of the result, whatever the number
// of rows: it is chosen once for a kind of product (kAlgorithmRows rows), may not split k, and has no workspace to do
// so in. So the number of windows in flight cannot change a bit.
#pragma once
#include <cublasLt.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>

#include "backend/cuda/cublaslt_api.h"

namespace awq::backend::cuda::quant {

struct Operand {
  const __half* data = nullptr;
  int64_t stride = 0;  // elements from one row to the next
  int64_t step = 0;    // elements from one matrix of a batch to the next
};
struct Target {
  void* data = nullptr;
  int64_t stride = 0, step = 0;
  bool f32 = true;  // else f16
};

class Products {
 public:
  explicit Products(cudaStream_t stream);  // Error(kDevice) when cuBLASLt is not there

  // y (m, n) = alpha x (m, k) w (n, k)' + beta y, `batch` times.
  void linear(int64_t m, int64_t n, int64_t k, Operand x, Operand w, Target y, float alpha = 1, float beta = 0,
              int64_t batch = 1);
  // h (p, q) += alpha a (t, p)' b (t, q)
  void gram(int64_t t, int64_t p, int64_t q, Operand a, Operand b, Target h, float alpha);

 private:
  struct Kind {  // what an algorithm is chosen for; m is 0 where it does not matter
    bool gram;
    int64_t m, n, k, x_stride, w_stride, y_stride, x_step, w_step, y_step, batch;
    bool f32, adds;
    auto operator<=>(const Kind&) const = default;
  };
  cublasLtMatmulAlgo_t algorithm(const Kind&, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                 cublasLtMatrixLayout_t y);

  cudaStream_t stream_;
  cublasLtHandle_t handle_;
  LtOwned<cublasLtMatmulDesc_t> linear_, gram_;
  LtOwned<cublasLtMatmulPreference_t> preference_;
  std::map<Kind, cublasLtMatmulAlgo_t> chosen_;
};

}  // namespace awq::backend::cuda::quant
