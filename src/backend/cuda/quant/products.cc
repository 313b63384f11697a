#include "backend/cuda/quant/products.h"

#include <fmt/format.h>

#include "backend/cuda/cublaslt.h"
#include "backend/cuda/run/failure_as_error.h"

namespace awq::backend::cuda::quant {
namespace {

constexpr int64_t kAlgorithmRows = 4096;  // the usual number of rows of a product: 8 windows of 512
constexpr uint32_t kAlignment = 16;       // bytes: every operand begins at a multiple of 8 elements

LtOwned<cublasLtMatmulDesc_t> description(cublasOperation_t a, cublasOperation_t b) {
  cublasLtMatmulDesc_t out = nullptr;
  check_lt(cublaslt().desc_create(&out, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
  LtOwned<cublasLtMatmulDesc_t> owned{out, cublaslt().desc_destroy};
  check_lt(cublaslt().desc_set(out, CUBLASLT_MATMUL_DESC_TRANSA, &a, sizeof a), "describing a product");
  check_lt(cublaslt().desc_set(out, CUBLASLT_MATMUL_DESC_TRANSB, &b, sizeof b), "describing a product");
  return owned;
}

template <class T>
void prefer(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
  check_lt(cublaslt().preference_set(preference, attribute, &value, sizeof value), "asking for algorithms");
}

LtOwned<cublasLtMatmulPreference_t> one_order_of_sums() {
  cublasLtMatmulPreference_t out = nullptr;
  check_lt(cublaslt().preference_create(&out), "asking for algorithms");
  LtOwned<cublasLtMatmulPreference_t> owned{out, cublaslt().preference_destroy};
  prefer(out, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, size_t{0});
  prefer(out, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE});
  for (const auto attribute : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                               CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    prefer(out, attribute, kAlignment);
  return owned;
}

cublasLtHandle_t handle() {
  return failure_as_error([] {
    if (const std::string& why = why_no_cublaslt(); !why.empty()) throw Failure(AWQ_CUDA_FAILED, why);
    return cublaslt_handle();
  });
}

LtOwned<cublasLtMatrixLayout_t> batched(cudaDataType type, int64_t rows, int64_t columns, int64_t stride, int64_t step,
                                        int64_t batch) {
  auto out = lt_layout(type, rows, columns, stride);
  if (batch == 1) return out;
  const auto count = static_cast<int32_t>(batch);
  check_lt(cublaslt().layout_set(out.get(), CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count),
           "describing a batch");
  check_lt(cublaslt().layout_set(out.get(), CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step),
           "describing a batch");
  return out;
}

}  // namespace

Products::Products(cudaStream_t stream)
    : stream_(stream),
      handle_(handle()),
      linear_(description(CUBLAS_OP_T, CUBLAS_OP_N)),
      gram_(description(CUBLAS_OP_N, CUBLAS_OP_T)),
      preference_(one_order_of_sums()) {}

cublasLtMatmulAlgo_t Products::algorithm(const Kind& kind, cublasLtMatmulDesc_t product, cublasLtMatrixLayout_t a,
                                         cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t y) {
  if (const auto found = chosen_.find(kind); found != chosen_.end()) return found->second;
  cublasLtMatmulHeuristicResult_t best{};
  int count = 0;
  check_lt(cublaslt().heuristic(handle_, product, a, b, y, y, preference_.get(), 1, &best, &count),
           "asking for an algorithm");
  if (count == 0)
    throw Failure(AWQ_CUDA_FAILED,
                  fmt::format("cuBLASLt has no algorithm without split sums for n={} k={}", kind.n, kind.k));
  chosen_.emplace(kind, best.algo);
  return best.algo;
}

// cuBLAS thinks in columns: y' (n, m) = w (k, n)' x' (k, m), every matrix as it lies in memory.
void Products::linear(int64_t m, int64_t n, int64_t k, Operand x, Operand w, Target y, float alpha, float beta,
                      int64_t batch) {
  failure_as_error([&] {
    const Kind kind{false, 0, n, k, x.stride, w.stride, y.stride, x.step, w.step, y.step, batch, y.f32, beta != 0};
    const cudaDataType type = y.f32 ? CUDA_R_32F : CUDA_R_16F;
    const auto lw = batched(CUDA_R_16F, k, n, w.stride, w.step, batch);
    const auto usual_x = batched(CUDA_R_16F, k, kAlgorithmRows, x.stride, x.step, batch);
    const auto usual_y = batched(type, n, kAlgorithmRows, y.stride, y.step, batch);
    const cublasLtMatmulAlgo_t algo = algorithm(kind, linear_.get(), lw.get(), usual_x.get(), usual_y.get());
    const auto lx = batched(CUDA_R_16F, k, m, x.stride, x.step, batch);
    const auto ly = batched(type, n, m, y.stride, y.step, batch);
    check_lt(cublaslt().matmul(handle_, linear_.get(), &alpha, w.data, lw.get(), x.data, lx.get(), &beta, y.data,
                               ly.get(), y.data, ly.get(), &algo, nullptr, 0, stream_),
             "multiplying");
  });
}

// h' (q, p) = b' (q, t) a (t, p): b as it lies in memory has columns of q.
void Products::gram(int64_t t, int64_t p, int64_t q, Operand a, Operand b, Target h, float alpha) {
  failure_as_error([&] {
    const Kind kind{true, t, p, q, a.stride, b.stride, h.stride, 0, 0, 0, 1, h.f32, true};
    const auto lb = lt_layout(CUDA_R_16F, q, t, b.stride), la = lt_layout(CUDA_R_16F, p, t, a.stride);
    const auto lh = lt_layout(CUDA_R_32F, q, p, h.stride);
    const cublasLtMatmulAlgo_t algo = algorithm(kind, gram_.get(), lb.get(), la.get(), lh.get());
    const float one = 1;
    check_lt(cublaslt().matmul(handle_, gram_.get(), &alpha, b.data, lb.get(), a.data, la.get(), &one, h.data, lh.get(),
                               h.data, lh.get(), &algo, nullptr, 0, stream_),
             "multiplying");
  });
}

}  // namespace awq::backend::cuda::quant
