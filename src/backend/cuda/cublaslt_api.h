// The functions of cuBLASLt, opened at first use, and owners of what they make.
#pragma once
#include <cublasLt.h>

#include <memory>
#include <type_traits>

#include "backend/cuda/cublas_library.h"

namespace awq::backend::cuda {

struct CublasLt {
  CublasLibrary library{"libcublasLt"};
  decltype(cublasLtCreate)* create = nullptr;
  decltype(cublasLtMatmul)* matmul = nullptr;
  decltype(cublasLtMatmulAlgoGetHeuristic)* heuristic = nullptr;
  decltype(cublasLtMatmulDescCreate)* desc_create = nullptr;
  decltype(cublasLtMatmulDescDestroy)* desc_destroy = nullptr;
  decltype(cublasLtMatmulDescSetAttribute)* desc_set = nullptr;
  decltype(cublasLtMatrixLayoutCreate)* layout_create = nullptr;
  decltype(cublasLtMatrixLayoutDestroy)* layout_destroy = nullptr;
  decltype(cublasLtMatrixLayoutSetAttribute)* layout_set = nullptr;
  decltype(cublasLtMatmulPreferenceCreate)* preference_create = nullptr;
  decltype(cublasLtMatmulPreferenceDestroy)* preference_destroy = nullptr;
  decltype(cublasLtMatmulPreferenceSetAttribute)* preference_set = nullptr;

  CublasLt() {
    library.load(create, "cublasLtCreate");
    library.load(matmul, "cublasLtMatmul");
    library.load(heuristic, "cublasLtMatmulAlgoGetHeuristic");
    library.load(desc_create, "cublasLtMatmulDescCreate");
    library.load(desc_destroy, "cublasLtMatmulDescDestroy");
    library.load(desc_set, "cublasLtMatmulDescSetAttribute");
    library.load(layout_create, "cublasLtMatrixLayoutCreate");
    library.load(layout_destroy, "cublasLtMatrixLayoutDestroy");
    library.load(layout_set, "cublasLtMatrixLayoutSetAttribute");
    library.load(preference_create, "cublasLtMatmulPreferenceCreate");
    library.load(preference_destroy, "cublasLtMatmulPreferenceDestroy");
    library.load(preference_set, "cublasLtMatmulPreferenceSetAttribute");
  }
};

const CublasLt& cublaslt();  // check library.why_not() before the first call

void check_lt(cublasStatus_t status, const char* doing);  // throws Failure

// One a device, for the life of the process: creating one takes milliseconds and may allocate.
cublasLtHandle_t cublaslt_handle();

template <class T>
using LtOwned = std::unique_ptr<std::remove_pointer_t<T>, cublasStatus_t (*)(T)>;

// A matrix of columns of `rows` elements, `stride` elements from one column to the next.
LtOwned<cublasLtMatrixLayout_t> lt_layout(cudaDataType type, int64_t rows, int64_t columns, int64_t stride);

}  // namespace awq::backend::cuda
