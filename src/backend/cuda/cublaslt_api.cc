#include "backend/cuda/cublaslt_api.h"

#include <fmt/format.h>

#include <array>
#include <mutex>

#include "backend/cuda/failure.h"

namespace awq::backend::cuda {

const CublasLt& cublaslt() {
  static const CublasLt loaded;
  return loaded;
}

void check_lt(cublasStatus_t status, const char* doing) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Failure(AWQ_CUDA_FAILED,
                  fmt::format("cuBLASLt returned status {} while {}", static_cast<int>(status), doing));
}

cublasLtHandle_t cublaslt_handle() {
  constexpr int kMostDevices = 64;
  static std::array<std::once_flag, kMostDevices> once;
  static std::array<cublasLtHandle_t, kMostDevices> handles{};
  int device = 0;
  check(cudaGetDevice(&device), "finding the current device");
  if (device >= kMostDevices) throw Failure(AWQ_CUDA_FAILED, fmt::format("device {} is beyond the 64th", device));
  std::call_once(once[device], [&] { check_lt(cublaslt().create(&handles[device]), "starting"); });
  return handles[device];
}

LtOwned<cublasLtMatrixLayout_t> lt_layout(cudaDataType type, int64_t rows, int64_t columns, int64_t stride) {
  cublasLtMatrixLayout_t out = nullptr;
  check_lt(cublaslt().layout_create(&out, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), stride),
           "describing a matrix");
  return {out, cublaslt().layout_destroy};
}

}  // namespace awq::backend::cuda
