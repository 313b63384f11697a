#include "backend/cuda/lab/fp16_gemm.h"

#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_fp16.h>
#include <dlfcn.h>

#include <string>

#include "awq/error.h"

namespace awq::backend::cuda::lab {
namespace {

constexpr size_t kWorkspaceBytes = size_t{32} << 20;  // what cuBLAS documents for Hopper
constexpr int kHeuristics = 8;

void check_cublas(cublasStatus_t status, const char* doing) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Error(ErrorKind::kDevice, "cuBLAS returned status " + std::to_string(int{status}) + " while " + doing);
}

class SharedLibrary {
 public:
  explicit SharedLibrary(const std::string& name) : name_(name), handle_(dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (!handle_)
      throw Error(ErrorKind::kDevice, std::string("cannot open ") + dlerror() + "; install cuBLAS " +
                                          std::to_string(CUBLAS_VER_MAJOR) + " or name its folder in LD_LIBRARY_PATH");
  }
  ~SharedLibrary() { dlclose(handle_); }
  SharedLibrary(const SharedLibrary&) = delete;
  SharedLibrary& operator=(const SharedLibrary&) = delete;

  template <class Function>
  void load(Function*& function, const char* symbol) const {
    function = reinterpret_cast<Function*>(dlsym(handle_, symbol));
    if (!function) throw Error(ErrorKind::kDevice, name_ + " has no " + symbol);
  }

 private:
  std::string name_;
  void* handle_;
};

std::string library_name(const char* stem) { return std::string(stem) + ".so." + std::to_string(CUBLAS_VER_MAJOR); }

// Named by its type: the header overloads it.
using GemmEx = cublasStatus_t(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int, const void*,
                              const void*, cudaDataType, int, const void*, cudaDataType, int, const void*, void*,
                              cudaDataType, int, cublasComputeType_t, cublasGemmAlgo_t);

struct Api {
  SharedLibrary lt{library_name("libcublasLt")}, blas{library_name("libcublas")};
  decltype(cublasCreate_v2)* create;
  decltype(cublasDestroy_v2)* destroy;
  decltype(cublasSetStream_v2)* set_stream;
  decltype(cublasSetWorkspace_v2)* set_workspace;
  GemmEx* gemm;
  decltype(cublasLtCreate)* lt_create;
  decltype(cublasLtDestroy)* lt_destroy;
  decltype(cublasLtMatmul)* lt_matmul;
  decltype(cublasLtMatmulDescCreate)* desc_create;
  decltype(cublasLtMatmulDescDestroy)* desc_destroy;
  decltype(cublasLtMatmulDescSetAttribute)* desc_set;
  decltype(cublasLtMatrixLayoutCreate)* layout_create;
  decltype(cublasLtMatrixLayoutDestroy)* layout_destroy;
  decltype(cublasLtMatmulPreferenceCreate)* preference_create;
  decltype(cublasLtMatmulPreferenceDestroy)* preference_destroy;
  decltype(cublasLtMatmulPreferenceSetAttribute)* preference_set;
  decltype(cublasLtMatmulAlgoGetHeuristic)* heuristic;

  Api() {
    blas.load(create, "cublasCreate_v2");
    blas.load(destroy, "cublasDestroy_v2");
    blas.load(set_stream, "cublasSetStream_v2");
    blas.load(set_workspace, "cublasSetWorkspace_v2");
    blas.load(gemm, "cublasGemmEx");
    lt.load(lt_create, "cublasLtCreate");
    lt.load(lt_destroy, "cublasLtDestroy");
    lt.load(lt_matmul, "cublasLtMatmul");
    lt.load(desc_create, "cublasLtMatmulDescCreate");
    lt.load(desc_destroy, "cublasLtMatmulDescDestroy");
    lt.load(desc_set, "cublasLtMatmulDescSetAttribute");
    lt.load(layout_create, "cublasLtMatrixLayoutCreate");
    lt.load(layout_destroy, "cublasLtMatrixLayoutDestroy");
    lt.load(preference_create, "cublasLtMatmulPreferenceCreate");
    lt.load(preference_destroy, "cublasLtMatmulPreferenceDestroy");
    lt.load(preference_set, "cublasLtMatmulPreferenceSetAttribute");
    lt.load(heuristic, "cublasLtMatmulAlgoGetHeuristic");
  }
};

// cuBLAS thinks in columns: y' (n, m) = w (k, n)' x' (k, m), every matrix as it lies in memory.
struct LtPlan {
  const Api& api;
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t w = nullptr, x = nullptr, y = nullptr;
  std::vector<cublasLtMatmulHeuristicResult_t> algorithms;

  LtPlan(const Api& functions, int64_t m, int64_t n, int64_t k) : api(functions) {
    const cublasOperation_t transposed = CUBLAS_OP_T;
    check_cublas(api.desc_create(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
    check_cublas(api.desc_set(desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed),
                 "describing a product");
    check_cublas(api.layout_create(&w, CUDA_R_16F, static_cast<uint64_t>(k), static_cast<uint64_t>(n), k),
                 "describing w");
    check_cublas(api.layout_create(&x, CUDA_R_16F, static_cast<uint64_t>(k), static_cast<uint64_t>(m), k),
                 "describing x");
    check_cublas(api.layout_create(&y, CUDA_R_16F, static_cast<uint64_t>(n), static_cast<uint64_t>(m), n),
                 "describing y");
  }
  ~LtPlan() {
    api.layout_destroy(y);
    api.layout_destroy(x);
    api.layout_destroy(w);
    api.desc_destroy(desc);
  }
  LtPlan(const LtPlan&) = delete;
  LtPlan& operator=(const LtPlan&) = delete;

  // None where cuBLASLt knows no way for the shape.
  void find_algorithms(cublasLtHandle_t handle) {
    cublasLtMatmulPreference_t preference = nullptr;
    check_cublas(api.preference_create(&preference), "asking for algorithms");
    api.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kWorkspaceBytes, sizeof kWorkspaceBytes);
    algorithms.resize(kHeuristics);
    int found = 0;
    const cublasStatus_t status =
        api.heuristic(handle, desc, w, x, y, y, preference, kHeuristics, algorithms.data(), &found);
    api.preference_destroy(preference);
    algorithms.resize(status == CUBLAS_STATUS_SUCCESS ? static_cast<size_t>(found) : 0);
  }
};

}  // namespace

struct Fp16Gemm::Impl {
  Api api;
  cublasHandle_t blas = nullptr;
  cublasLtHandle_t lt = nullptr;
  DeviceBuffer workspace;

  Impl() {
    workspace.reserve(kWorkspaceBytes);
    check_cublas(api.create(&blas), "starting");
    check_cublas(api.lt_create(&lt), "starting");
  }
  ~Impl() {
    api.lt_destroy(lt);
    api.destroy(blas);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void gemm_ex(const Operands& o, cudaStream_t stream) {
    const float one = 1, zero = 0;
    const int m = static_cast<int>(o.m), n = static_cast<int>(o.n), k = static_cast<int>(o.k);
    check_cublas(api.set_stream(blas, stream), "setting the stream");
    check_cublas(api.set_workspace(blas, workspace.as(), kWorkspaceBytes), "setting the workspace");
    check_cublas(api.gemm(blas, CUBLAS_OP_T, CUBLAS_OP_N, n, m, k, &one, o.w, CUDA_R_16F, k, o.x, CUDA_R_16F, k, &zero,
                          o.y, CUDA_R_16F, n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
                 "running cublasGemmEx");
  }
  void lt_matmul(const LtPlan& plan, size_t algorithm, const Operands& o, cudaStream_t stream) {
    const float one = 1, zero = 0;
    check_cublas(api.lt_matmul(lt, plan.desc, &one, o.w, plan.w, o.x, plan.x, &zero, o.y, plan.y, o.y, plan.y,
                               &plan.algorithms[algorithm].algo, workspace.as(), kWorkspaceBytes, stream),
                 "running cublasLtMatmul");
  }
};

Fp16Gemm::Fp16Gemm() : impl_(std::make_unique<Impl>()) {}
Fp16Gemm::~Fp16Gemm() = default;

std::vector<Fp16Gemm::Run> Fp16Gemm::candidates(int64_t m, int64_t n, int64_t k) {
  Impl* impl = impl_.get();
  std::vector<Run> runs;
  runs.push_back([impl](const Operands& o, cudaStream_t stream) { impl->gemm_ex(o, stream); });
  const auto plan = std::make_shared<LtPlan>(impl->api, m, n, k);
  plan->find_algorithms(impl->lt);
  for (size_t i = 0; i < plan->algorithms.size(); ++i)
    runs.push_back([impl, plan, i](const Operands& o, cudaStream_t stream) { impl->lt_matmul(*plan, i, o, stream); });
  return runs;
}

}  // namespace awq::backend::cuda::lab
