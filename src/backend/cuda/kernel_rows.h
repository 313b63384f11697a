// Every CUDA kernel, best first, as traits: known without a GPU, a driver or the plugin, so that `awq devices
// --assume 8.6` and the tests can walk it. launchers.cu holds the launcher of each row, in the same order.
#pragma once
#include <array>

#include "backend/kernel_table.h"

namespace awq::backend::cuda {

constexpr KernelTraits cuda_row(std::string_view name, KernelFamily family, int capability_min, int capability_end,
                                bool bf16, int64_t m_max, int64_t prefer_m_min, int64_t prefer_m_max) {
  KernelTraits row{.name = name, .family = family, .device = DeviceKind::kCuda};
  row.capability_min = capability_min;
  row.capability_end = capability_end;
  row.m_max = m_max;
  row.n_step = 8;
  row.k_step = 8;
  row.prefer_m_min = prefer_m_min;
  row.prefer_m_max = prefer_m_max;
  row.bf16 = bf16;
  row.tile_groups = true;
  return row;
}

inline constexpr int kAnyLater = 1 << 30;
inline constexpr int64_t kAnyM = INT64_MAX;

// The tensor maps of these rows step through x by 64 features.
constexpr KernelTraits hopper_row(KernelTraits row) {
  row.k_step = 64;
  return row;
}
// On Hopper, where the row that streams through shared memory is there, the quicker one while all its blocks run at
// once: on an H200 4.06 us against 6.46 at 4096 x 4096 (m = 1), 17.2 against 20.9 the other way at 28672 x 4096.
constexpr KernelTraits quick_where_small(KernelTraits row) {
  row.crossovers[0] = {.capability = 90, .n_per_unit = 32, .m_max = 8, .k_step = 64};
  row.crossovers[1] = {.capability = 90, .n_per_unit = 64, .m_max = 4, .k_max = 4096, .k_step = 64};
  row.crossovers[2] = {.capability = 90, .n_per_unit = 64, .m_max = 2, .k_max = 16384, .k_step = 64};
  return row;
}

// clang-format off
inline constexpr std::array kCudaRows = {
    //        name                      family               from  end        bf16   m_max  preferred m
    quick_where_small(
    cuda_row("gemv_w4a16_mma_sm80",     KernelFamily::kGemv, 80, kAnyLater, true,  8,     1,  8)),
    hopper_row(
    cuda_row("gemv_w4a16_bulk_sm90a",   KernelFamily::kGemv, 90, 91,        true,  kAnyM, 1,  16)),
    hopper_row(
    cuda_row("gemm_w4a16_wgmma_sm90a",  KernelFamily::kGemm, 90, 91,        true,  kAnyM, 1,  kAnyM)),
    cuda_row("gemm_w4a16_mma_sm80",     KernelFamily::kGemm, 80, kAnyLater, true,  kAnyM, 1,  kAnyM),
    cuda_row("gemv_w4a16_mma_sm75",     KernelFamily::kGemv, 75, kAnyLater, false, 8,     1,  8),
    cuda_row("gemm_w4a16_mma_sm75",     KernelFamily::kGemm, 75, kAnyLater, false, kAnyM, 1,  kAnyM),
    cuda_row("gemm_dequant_cublaslt",   KernelFamily::kGemm, 75, kAnyLater, true,  kAnyM, 1,  kAnyM),
    cuda_row("gemv_w4a16_portable",     KernelFamily::kGemv, 60, kAnyLater, true,  kAnyM, 1,  8),
    cuda_row("gemm_w4a16_portable",     KernelFamily::kGemm, 60, kAnyLater, true,  kAnyM, 1,  kAnyM),
};
// clang-format on

}  // namespace awq::backend::cuda
