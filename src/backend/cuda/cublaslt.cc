#include "backend/cuda/cublaslt.h"

#include <cublasLt.h>
#include <fmt/format.h>

#include <vector>

#include "backend/cuda/cublaslt_api.h"
#include "backend/cuda/failure.h"

namespace awq::backend::cuda {
namespace {

LtOwned<cublasLtMatmulDesc_t> transposed_product() {
  cublasLtMatmulDesc_t out = nullptr;
  check_lt(cublaslt().desc_create(&out, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
  LtOwned<cublasLtMatmulDesc_t> owned{out, cublaslt().desc_destroy};
  const cublasOperation_t transposed = CUBLAS_OP_T;
  check_lt(cublaslt().desc_set(out, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed),
           "describing a product");
  return owned;
}

LtOwned<cublasLtMatmulPreference_t> preference() {
  cublasLtMatmulPreference_t out = nullptr;
  check_lt(cublaslt().preference_create(&out), "asking for algorithms");
  LtOwned<cublasLtMatmulPreference_t> owned{out, cublaslt().preference_destroy};
  // Shares of k are added in float32: adding rounded ones would cost what y's rounding costs, once a share.
  const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  check_lt(cublaslt().preference_set(out, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kCublasLtWorkspace,
                                     sizeof kCublasLtWorkspace),
           "asking for algorithms");
  check_lt(cublaslt().preference_set(out, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, sizeof reductions),
           "asking for algorithms");
  return owned;
}

void require_cublaslt() {
  if (const std::string& why = why_no_cublaslt(); !why.empty()) throw Failure(AWQ_CUDA_FAILED, why);
}

// cuBLAS thinks in columns: y' (n, m) = w (k, n)' x' (k, m), every matrix as it lies in memory.
struct Description {
  explicit Description(const DenseProduct& p)
      : handle((require_cublaslt(), cublaslt_handle())),
        product(transposed_product()),
        w(lt_layout(p.type, p.k, p.n, p.k)),
        x(lt_layout(p.type, p.k, p.m, p.k)),
        y(lt_layout(p.y_type, p.n, p.m, p.n)),
        wanted(preference()) {}

  // Best first. The library remembers its answers, so asking each time is a look-up.
  std::vector<cublasLtMatmulHeuristicResult_t> algorithms(int most) const {
    std::vector<cublasLtMatmulHeuristicResult_t> found(static_cast<size_t>(most));
    int count = 0;
    check_lt(cublaslt().heuristic(handle, product.get(), w.get(), x.get(), y.get(), y.get(), wanted.get(), most,
                                  found.data(), &count),
             "asking for an algorithm");
    found.resize(static_cast<size_t>(count));
    return found;
  }

  cublasLtHandle_t handle;
  LtOwned<cublasLtMatmulDesc_t> product;
  LtOwned<cublasLtMatrixLayout_t> w, x, y;
  LtOwned<cublasLtMatmulPreference_t> wanted;
};

}  // namespace

const std::string& why_no_cublaslt() {
  if (cublaslt().library.why_not().empty()) cublaslt_handle();
  return cublaslt().library.why_not();
}

int count_algorithms(const DenseProduct& p, int most) {
  const Description description(p);
  return static_cast<int>(description.algorithms(most).size());
}

void multiply(const DenseProduct& p, int rank) {
  const Description description(p);
  const auto found = description.algorithms(rank + 1);
  if (std::ssize(found) <= rank)
    throw Failure(AWQ_CUDA_FAILED, fmt::format("cuBLASLt has no algorithm for m={} n={} k={}", p.m, p.n, p.k));
  const float one = 1, zero = 0;
  check_lt(cublaslt().matmul(description.handle, description.product.get(), &one, p.w, description.w.get(), p.x,
                             description.x.get(), &zero, p.y, description.y.get(), p.y, description.y.get(),
                             &found[static_cast<size_t>(rank)].algo, p.workspace, kCublasLtWorkspace, p.stream),
           "multiplying");
}

}  // namespace awq::backend::cuda
