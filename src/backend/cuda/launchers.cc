#include "backend/cuda/launchers.h"

#include "backend/cuda/failure.h"
#include "backend/cuda/kernel_rows.h"
#include "backend/cuda/kernels/gemm_mma.h"
#include "backend/cuda/kernels/portable.h"

namespace awq::backend::cuda {
namespace {

struct NamedLauncher {
  std::string_view name;
  const Launcher* launcher;
};

// clang-format off
constexpr std::array kLaunchers = {
    NamedLauncher{"gemv_w4a16_mma_sm80",    &kGemvMmaSm80},
    NamedLauncher{"gemv_w4a16_bulk_sm90a",  &kGemvPipelineSm90a},
    NamedLauncher{"gemm_w4a16_wgmma_sm90a", &kGemmWgmmaSm90a},
    NamedLauncher{"gemm_w4a16_mma_sm80",    &kGemmMmaSm80},
    NamedLauncher{"gemv_w4a16_mma_sm75",    &kGemvMmaSm75},
    NamedLauncher{"gemm_w4a16_mma_sm75",    &kGemmMmaSm75},
    NamedLauncher{"gemm_dequant_cublaslt",  &kGemmDequantCublasLt},
    NamedLauncher{"gemv_w4a16_portable",    &kGemvPortable},
    NamedLauncher{"gemm_w4a16_portable",    &kGemmPortable},
};
// clang-format on

constexpr bool same_rows() {
  for (size_t i = 0; i < kCudaRows.size(); ++i)
    if (kLaunchers[i].name != kCudaRows[i].name) return false;
  return true;
}
static_assert(kLaunchers.size() == kCudaRows.size(), "every row of kernel_rows.h needs its launcher here");
static_assert(same_rows(), "launchers must be in the order of kernel_rows.h");

}  // namespace

const Launcher& launcher(size_t row) {
  if (kLaunchers[row].launcher == nullptr)
    throw Failure(AWQ_CUDA_NOT_SUPPORTED, std::string(kLaunchers[row].name) + " is not part of this build");
  return *kLaunchers[row].launcher;
}

}  // namespace awq::backend::cuda
