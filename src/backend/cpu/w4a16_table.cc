#include "backend/cpu/w4a16_table.h"

#include <array>
#include <iterator>

#include "backend/cpu/linear_w4a16.h"

namespace awq::backend::cpu {
namespace {

constexpr KernelTraits gemv(std::string_view name, uint32_t features, std::string_view words, int64_t prefer_m_max) {
  return {.name = name,
          .family = KernelFamily::kGemv,
          .device = DeviceKind::kCpu,
          .features = features,
          .needs_words = words,
          .prefer_m_max = prefer_m_max};
}
constexpr KernelTraits gemm(std::string_view name, uint32_t features, std::string_view words,
                            int64_t prefer_m_min = 1) {
  return {.name = name,
          .family = KernelFamily::kGemm,
          .device = DeviceKind::kCpu,
          .features = features,
          .needs_words = words,
          .prefer_m_min = prefer_m_min};
}

constexpr uint32_t k512 = kAvx2 | kAvx512, k512Vnni = k512 | kAvx512Vnni, kVnni = kAvx2 | kAvxVnni;
constexpr uint32_t kAmx = k512 | kAmxInt8;
constexpr std::string_view kWords512Vnni = "AVX-512 VNNI", kWords512 = "AVX-512 (F, BW, DQ, VL)",
                           kWordsVnni = "AVX-VNNI", kWords2 = "AVX2, FMA and F16C", kWordsAmx = "AMX-INT8 and AVX-512";

// Best first. A new kernel is one row here: tests, benchmark and `awq devices` walk this table.
// "preferred to": the largest m at which the gemv row was still the quicker one at 4096 x 4096, cold (2-core Zen 5,
// bench/results; of 1, 4, 8, 12, 16, 24, 32, 64, 96). The AMX row is preferred from its m on: at 8 it took as long as
// the gemv row, at 6 17 to 30 % longer (16 virtual cores of a Xeon, bench/results, cold; of 1, 4, 6, 8, 64, 512).
// clang-format off
constexpr CpuKernelRow kRows[] = {
    //    name                     needs     in words       preferred to (from)    tile_step
#if defined(__x86_64__)
    {gemm("gemm_w4a16_amxint8",    kAmx,     kWordsAmx,     8),  gemm_w4a16_amxint8,    4, TokenLayout::kDigits},
    {gemv("gemv_w4a16_avx512vnni", k512Vnni, kWords512Vnni, 64), gemv_w4a16_avx512vnni, 2},
    {gemm("gemm_w4a16_avx512vnni", k512Vnni, kWords512Vnni),     gemm_w4a16_avx512vnni, 3},
    {gemv("gemv_w4a16_avx512",     k512,     kWords512,     32), gemv_w4a16_avx512,     2},
    {gemm("gemm_w4a16_avx512",     k512,     kWords512),         gemm_w4a16_avx512,     3},
    {gemv("gemv_w4a16_avxvnni",    kVnni,    kWordsVnni,    16), gemv_w4a16_avxvnni,    1},
    {gemm("gemm_w4a16_avxvnni",    kVnni,    kWordsVnni),        gemm_w4a16_avxvnni,    1},
    {gemv("gemv_w4a16_avx2",       kAvx2,    kWords2,       8),  gemv_w4a16_avx2,       1},
    {gemm("gemm_w4a16_avx2",       kAvx2,    kWords2),           gemm_w4a16_avx2,       1},
#endif
    {gemv("gemv_w4a16_portable",   0,        "",             4), gemv_w4a16_portable,   1},
    {gemm("gemm_w4a16_portable",   0,        ""),                gemm_w4a16_portable,   1},
};
// clang-format on

constexpr auto kTraits = [] {
  std::array<KernelTraits, std::size(kRows)> traits{};
  for (size_t i = 0; i < traits.size(); ++i) traits[i] = kRows[i].traits;
  return traits;
}();

}  // namespace

std::span<const KernelTraits> cpu_kernels() { return kTraits; }
std::span<const CpuKernelRow> cpu_kernel_rows() { return kRows; }

}  // namespace awq::backend::cpu
