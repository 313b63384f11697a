#include "backend/cuda/lab/fp16_gemm.h"

#include <cublas_v2.h>

#include <string>

#include "awq/error.h"
#include "backend/cuda/cublas_library.h"
#include "backend/cuda/cublaslt.h"
#include "backend/cuda/failure.h"

namespace awq::backend::cuda::lab {
namespace {

constexpr int kAlgorithms = 8;  // of cuBLASLt's heuristic, its first ones

void check_cublas(cublasStatus_t status, const char* doing) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Error(ErrorKind::kDevice, "cuBLAS returned status " + std::to_string(int{status}) + " while " + doing);
}

// Runs `body`; what the plugin's inside throws becomes the library's error.
template <class Body>
auto as_error(Body&& body) {
  try {
    return body();
  } catch (const Failure& failure) {
    throw Error(ErrorKind::kDevice, failure.what());
  }
}

// Named by its type: the header overloads it.
using GemmEx = cublasStatus_t(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int, const void*,
                              const void*, cudaDataType, int, const void*, cudaDataType, int, const void*, void*,
                              cudaDataType, int, cublasComputeType_t, cublasGemmAlgo_t);

// libcublas, which cuBLASLt's functions are not in.
struct CublasApi {
  decltype(cublasCreate_v2)* create;
  decltype(cublasDestroy_v2)* destroy;
  decltype(cublasSetStream_v2)* set_stream;
  decltype(cublasSetWorkspace_v2)* set_workspace;
  GemmEx* gemm;

  CublasApi() {
    CublasLibrary library("libcublas");
    library.load(create, "cublasCreate_v2");
    library.load(destroy, "cublasDestroy_v2");
    library.load(set_stream, "cublasSetStream_v2");
    library.load(set_workspace, "cublasSetWorkspace_v2");
    library.load(gemm, "cublasGemmEx");
    if (!library.why_not().empty()) throw Error(ErrorKind::kDevice, library.why_not());
  }
};

}  // namespace

struct Fp16Gemm::Impl {
  CublasApi api;
  cublasHandle_t blas = nullptr;
  DeviceBuffer workspace;

  Impl() {
    if (const std::string& why = why_no_cublaslt(); !why.empty()) throw Error(ErrorKind::kDevice, why);
    workspace.reserve(kCublasLtWorkspace);
    check_cublas(api.create(&blas), "starting");
  }
  ~Impl() { api.destroy(blas); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // cuBLAS thinks in columns: y' (n, m) = w (k, n)' x' (k, m), every matrix as it lies in memory.
  void gemm_ex(const Operands& o, cudaStream_t stream) {
    const float one = 1, zero = 0;
    const int m = static_cast<int>(o.m), n = static_cast<int>(o.n), k = static_cast<int>(o.k);
    check_cublas(api.set_stream(blas, stream), "setting the stream");
    check_cublas(api.set_workspace(blas, workspace.as(), kCublasLtWorkspace), "setting the workspace");
    check_cublas(api.gemm(blas, CUBLAS_OP_T, CUBLAS_OP_N, n, m, k, &one, o.w, CUDA_R_16F, k, o.x, CUDA_R_16F, k, &zero,
                          o.y, CUDA_R_16F, n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
                 "running cublasGemmEx");
  }
  DenseProduct product(const Operands& o, cudaStream_t stream) const {
    return {.m = o.m, .n = o.n, .k = o.k, .x = o.x, .w = o.w, .y = o.y, .workspace = workspace.as(), .stream = stream};
  }
};

Fp16Gemm::Fp16Gemm() : impl_(as_error([] { return std::make_unique<Impl>(); })) {}
Fp16Gemm::~Fp16Gemm() = default;

std::vector<Fp16Gemm::Run> Fp16Gemm::candidates(int64_t m, int64_t n, int64_t k) {
  Impl* impl = impl_.get();
  std::vector<Run> runs;
  runs.emplace_back([impl](const Operands& o, cudaStream_t stream) { impl->gemm_ex(o, stream); });
  const int algorithms = as_error([&] { return count_algorithms({.m = m, .n = n, .k = k}, kAlgorithms); });
  for (int rank = 0; rank < algorithms; ++rank)
    runs.emplace_back([impl, rank](const Operands& o, cudaStream_t stream) {
      as_error([&] { multiply(impl->product(o, stream), rank); });
    });
  return runs;
}

}  // namespace awq::backend::cuda::lab
