#include "backend/cuda/cublaslt.h"

#include <cublasLt.h>
#include <fmt/format.h>

#include <array>
#include <memory>
#include <mutex>
#include <vector>

#include "backend/cuda/cublas_library.h"
#include "backend/cuda/failure.h"

namespace awq::backend::cuda {
namespace {

struct Api {
  CublasLibrary library{"libcublasLt"};
  decltype(cublasLtCreate)* create = nullptr;
  decltype(cublasLtMatmul)* matmul = nullptr;
  decltype(cublasLtMatmulAlgoGetHeuristic)* heuristic = nullptr;
  decltype(cublasLtMatmulDescCreate)* desc_create = nullptr;
  decltype(cublasLtMatmulDescDestroy)* desc_destroy = nullptr;
  decltype(cublasLtMatmulDescSetAttribute)* desc_set = nullptr;
  decltype(cublasLtMatrixLayoutCreate)* layout_create = nullptr;
  decltype(cublasLtMatrixLayoutDestroy)* layout_destroy = nullptr;
  decltype(cublasLtMatmulPreferenceCreate)* preference_create = nullptr;
  decltype(cublasLtMatmulPreferenceDestroy)* preference_destroy = nullptr;
  decltype(cublasLtMatmulPreferenceSetAttribute)* preference_set = nullptr;

  Api() {
    library.load(create, "cublasLtCreate");
    library.load(matmul, "cublasLtMatmul");
    library.load(heuristic, "cublasLtMatmulAlgoGetHeuristic");
    library.load(desc_create, "cublasLtMatmulDescCreate");
    library.load(desc_destroy, "cublasLtMatmulDescDestroy");
    library.load(desc_set, "cublasLtMatmulDescSetAttribute");
    library.load(layout_create, "cublasLtMatrixLayoutCreate");
    library.load(layout_destroy, "cublasLtMatrixLayoutDestroy");
    library.load(preference_create, "cublasLtMatmulPreferenceCreate");
    library.load(preference_destroy, "cublasLtMatmulPreferenceDestroy");
    library.load(preference_set, "cublasLtMatmulPreferenceSetAttribute");
  }
};

const Api& api() {
  static const Api loaded;
  return loaded;
}

void check_lt(cublasStatus_t status, const char* doing) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Failure(AWQ_CUDA_FAILED,
                  fmt::format("cuBLASLt returned status {} while {}", static_cast<int>(status), doing));
}

// One a device, for the life of the process: creating one takes milliseconds and may allocate.
cublasLtHandle_t handle_of_current_device() {
  constexpr int kMostDevices = 64;
  static std::array<std::once_flag, kMostDevices> once;
  static std::array<cublasLtHandle_t, kMostDevices> handles{};
  int device = 0;
  check(cudaGetDevice(&device), "finding the current device");
  if (device >= kMostDevices) throw Failure(AWQ_CUDA_FAILED, fmt::format("device {} is beyond the 64th", device));
  std::call_once(once[device], [&] { check_lt(api().create(&handles[device]), "starting"); });
  return handles[device];
}

template <class T>
using Owned = std::unique_ptr<std::remove_pointer_t<T>, cublasStatus_t (*)(T)>;

Owned<cublasLtMatrixLayout_t> layout(cudaDataType type, int64_t rows, int64_t columns) {
  cublasLtMatrixLayout_t out = nullptr;
  check_lt(api().layout_create(&out, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), rows),
           "describing a matrix");
  return {out, api().layout_destroy};
}

Owned<cublasLtMatmulDesc_t> transposed_product() {
  cublasLtMatmulDesc_t out = nullptr;
  check_lt(api().desc_create(&out, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
  Owned<cublasLtMatmulDesc_t> owned{out, api().desc_destroy};
  const cublasOperation_t transposed = CUBLAS_OP_T;
  check_lt(api().desc_set(out, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed), "describing a product");
  return owned;
}

Owned<cublasLtMatmulPreference_t> preference() {
  cublasLtMatmulPreference_t out = nullptr;
  check_lt(api().preference_create(&out), "asking for algorithms");
  Owned<cublasLtMatmulPreference_t> owned{out, api().preference_destroy};
  // Shares of k are added in float32: adding rounded ones would cost what y's rounding costs, once a share.
  const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  check_lt(api().preference_set(out, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kCublasLtWorkspace,
                                sizeof kCublasLtWorkspace),
           "asking for algorithms");
  check_lt(api().preference_set(out, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, sizeof reductions),
           "asking for algorithms");
  return owned;
}

void require_cublaslt() {
  if (const std::string& why = why_no_cublaslt(); !why.empty()) throw Failure(AWQ_CUDA_FAILED, why);
}

// cuBLAS thinks in columns: y' (n, m) = w (k, n)' x' (k, m), every matrix as it lies in memory.
struct Description {
  explicit Description(const DenseProduct& p)
      : handle((require_cublaslt(), handle_of_current_device())),
        product(transposed_product()),
        w(layout(p.type, p.k, p.n)),
        x(layout(p.type, p.k, p.m)),
        y(layout(p.y_type, p.n, p.m)),
        wanted(preference()) {}

  // Best first. The library remembers its answers, so asking each time is a look-up.
  std::vector<cublasLtMatmulHeuristicResult_t> algorithms(int most) const {
    std::vector<cublasLtMatmulHeuristicResult_t> found(static_cast<size_t>(most));
    int count = 0;
    check_lt(api().heuristic(handle, product.get(), w.get(), x.get(), y.get(), y.get(), wanted.get(), most,
                             found.data(), &count),
             "asking for an algorithm");
    found.resize(static_cast<size_t>(count));
    return found;
  }

  cublasLtHandle_t handle;
  Owned<cublasLtMatmulDesc_t> product;
  Owned<cublasLtMatrixLayout_t> w, x, y;
  Owned<cublasLtMatmulPreference_t> wanted;
};

}  // namespace

const std::string& why_no_cublaslt() {
  if (api().library.why_not().empty()) handle_of_current_device();
  return api().library.why_not();
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
  check_lt(api().matmul(description.handle, description.product.get(), &one, p.w, description.w.get(), p.x,
                        description.x.get(), &zero, p.y, description.y.get(), p.y, description.y.get(),
                        &found[static_cast<size_t>(rank)].algo, p.workspace, kCublasLtWorkspace, p.stream),
           "multiplying");
}

}  // namespace awq::backend::cuda
