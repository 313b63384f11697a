// Selection, walked exhaustively: every table, every device, every problem gives a row or a reason.
#include "backend/kernel_table.h"

#include <gmock/gmock.h>

#include "awq/error.h"
#include "backend/cpu/linear_w4a16.h"
#include "backend/row_or_reason.h"

namespace awq::backend {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr KernelTraits cuda_row(std::string_view name, KernelFamily family, int capability_min, int capability_end,
                                int64_t m_max, int n_step, int64_t prefer_m_max) {
  return {.name = name,
          .family = family,
          .device = DeviceKind::kCuda,
          .features = 0,
          .capability_min = capability_min,
          .capability_end = capability_end,
          .m_max = m_max,
          .n_step = n_step,
          .k_step = 32,
          .needs_words = "",
          .prefer_m_max = prefer_m_max};
}
constexpr int kNoEnd = 1000;
constexpr int64_t kAny = INT64_MAX;

// clang-format off: a table with every kind of limit
constexpr KernelTraits kGpuRows[] = {
    //       name           family               capability   m_max  n  preferred to
    cuda_row("gemv_sm75", KernelFamily::kGemv, 75, kNoEnd, 16, 8, 8),
    cuda_row("wgmma_sm90a", KernelFamily::kGemm, 90, 91, kAny, 128, kAny),
    cuda_row("mma_sm80", KernelFamily::kGemm, 80, kNoEnd, kAny, 64, kAny),
    cuda_row("mma_sm75", KernelFamily::kGemm, 75, kNoEnd, kAny, 64, kAny),
    cuda_row("gemv_sm60", KernelFamily::kGemv, 60, kNoEnd, kAny, 1, 8),
};
// clang-format on

DeviceInfo gpu(int capability) {
  DeviceInfo d;
  d.kind = DeviceKind::kCuda;
  d.name = "GPU";
  d.capability = capability;
  return d;
}

DeviceInfo cpu_with(uint32_t features) {
  DeviceInfo d;
  d.name = "CPU";
  d.features = features;
  return d;
}

std::string chosen(std::span<const KernelTraits> rows, const Problem& p, const DeviceInfo& d,
                   std::string_view version = "auto") {
  return std::string(rows[select_row(rows, p, d, version)].name);
}

std::vector<Problem> problems() {
  std::vector<Problem> all;
  for (const int64_t m : {1, 2, 8, 9, 16, 17, 512})
    for (const int64_t n : {8, 24, 40, 64, 128, 4096})
      for (const auto& [k, group] : {std::pair<int64_t, int>{128, 128}, {160, 32}, {4096, 4096}, {4096, 64}})
        all.push_back({.m = m, .n = n, .k = k, .group_size = group});
  return all;
}

TEST(SelectRow, EveryGpuGetsARowOrAReason) {
  for (int capability = 35; capability <= 130; ++capability)
    for (const Problem& p : problems())
      for (const std::string& version : test::versions_of(kGpuRows))
        test::expect_row_or_reason(kGpuRows, p, gpu(capability), version);
}

TEST(SelectRow, EveryCpuRunsEveryProblem) {
  const auto rows = cpu::cpu_kernels();
  for (uint32_t features = 0; features < 1u << 7; ++features)
    for (const Problem& p : problems()) {
      for (const std::string& version : test::versions_of(rows))
        test::expect_row_or_reason(rows, p, cpu_with(features), version);
      for (const std::string_view version : {"auto", "gemm", "gemv"})
        EXPECT_NO_THROW(select_row(rows, p, cpu_with(features), version)) << to_string(p);
    }
}

TEST(SelectRow, PrefersByMeasuredCrossover) {
  const Problem one{.m = 1, .n = 4096, .k = 4096}, many{.m = 512, .n = 4096, .k = 4096};
  EXPECT_EQ(chosen(kGpuRows, one, gpu(90)), "gemv_sm75");
  EXPECT_EQ(chosen(kGpuRows, many, gpu(90)), "wgmma_sm90a");
  EXPECT_EQ(chosen(kGpuRows, many, gpu(100)), "mma_sm80");
  EXPECT_EQ(chosen(kGpuRows, many, gpu(75)), "mma_sm75");
  EXPECT_EQ(chosen(kGpuRows, many, gpu(61)), "gemv_sm60") << "a preference is not a limit";
  EXPECT_EQ(chosen(kGpuRows, many, gpu(90), "GEMV"), "gemv_sm60");
}

TEST(SelectRow, NamesTheCapabilityAndWhatToUseInstead) {
  try {
    select_row(kGpuRows, {.m = 1, .n = 4096, .k = 4096}, gpu(61), "gemm");
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kDevice);
    EXPECT_THAT(e.what(), StartsWith("Kernel version not supported on this hardware: gemm on GPU"));
    EXPECT_THAT(e.what(), HasSubstr("mma_sm75 needs compute capability 7.5 or higher, this device has 6.1"));
    EXPECT_THAT(e.what(), HasSubstr("use gemv_sm60 or auto"));
    EXPECT_THAT(e.what(), Not(HasSubstr("gemv_sm75 needs"))) << "only what was asked for";
  }
}

TEST(SelectRow, AShapeIsNotTheHardwaresFault) {
  try {
    select_row(kGpuRows, {.m = 1, .n = 40, .k = 4096}, gpu(90), "mma_sm80");
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
    EXPECT_THAT(e.what(), HasSubstr("needs n % 64 == 0, n = 40"));
  }
}

TEST(SelectRow, ARowPreferredFromSomeMStandsBackBelowIt) {
  const KernelTraits rows[] = {
      {.name = "tiles",
       .family = KernelFamily::kGemm,
       .device = DeviceKind::kCpu,
       .needs_words = "",
       .prefer_m_min = 7},
      {.name = "few", .family = KernelFamily::kGemv, .device = DeviceKind::kCpu, .needs_words = "", .prefer_m_max = 32},
      {.name = "many", .family = KernelFamily::kGemm, .device = DeviceKind::kCpu, .needs_words = ""},
  };
  for (const auto& [m, version, row] : {std::tuple{6, "auto", "few"},
                                        {7, "auto", "tiles"},
                                        {512, "auto", "tiles"},
                                        {6, "gemm", "many"},
                                        {6, "tiles", "tiles"}})
    EXPECT_EQ(chosen(rows, {.m = m, .n = 16, .k = 128}, cpu_with(0), version), row) << m << " " << version;
}

// A row with crossovers on one capability: up to 10 outputs a unit there with 4 tokens, 20 with 2 and k up to 256.
TEST(SelectRow, CrossoversLimitThePreferenceOnTheirCapabilityAlone) {
  KernelTraits quick{.name = "quick", .family = KernelFamily::kGemv, .device = DeviceKind::kCuda, .needs_words = ""};
  quick.crossovers[0] = {.capability = 90, .n_per_unit = 10, .m_max = 4};
  quick.crossovers[1] = {.capability = 90, .n_per_unit = 20, .m_max = 2, .k_max = 256};
  const KernelTraits rows[] = {
      quick, {.name = "wide", .family = KernelFamily::kGemm, .device = DeviceKind::kCuda, .needs_words = ""}};
  struct {
    int capability;
    int64_t m, n, k;
    const char* row;
  } const cells[] = {{90, 4, 1000, 1024, "quick"}, {90, 5, 1000, 1024, "wide"}, {90, 4, 1008, 128, "wide"},
                     {90, 2, 2000, 256, "quick"},  {90, 3, 2000, 256, "wide"},  {90, 2, 2000, 384, "wide"},
                     {90, 1, 2008, 256, "wide"},   {80, 9, 9000, 9088, "quick"}};
  for (const auto& [capability, m, n, k, row] : cells) {
    DeviceInfo device = gpu(capability);
    device.compute_units = 100;
    const Problem p{.m = m, .n = n, .k = k};
    EXPECT_EQ(chosen(rows, p, device), row) << to_string(p);
    EXPECT_EQ(chosen(rows, p, device, "quick"), "quick") << "a preference is not a limit";
  }
  quick.crossovers[0].capability = quick.crossovers[1].capability = 0;
  EXPECT_EQ(chosen(std::span(&quick, 1), {.m = 9, .n = 9000, .k = 9088}, gpu(90)), "quick") << "none";
}

TEST(SelectRow, AnUnknownVersionListsTheKnownOnes) {
  try {
    select_row(kGpuRows, {.m = 1, .n = 64, .k = 128}, gpu(90), "marlin");
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUsage);
    EXPECT_THAT(e.what(), HasSubstr("auto, gemm, gemv, gemv_sm75"));
  }
}

TEST(SelectRow, AnUnusableDeviceSaysWhy) {
  DeviceInfo broken = gpu(90);
  broken.unusable = "the driver is older than CUDA 12";
  EXPECT_EQ(refusal(kGpuRows[0], {.m = 1, .n = 64, .k = 128}, broken), broken.unusable);
}

TEST(KernelStatus, ListsEveryRowOfTheDevice) {
  const auto status = kernel_status(cpu_with(kAvx2), {.m = 1, .n = 64, .k = 128});
  ASSERT_EQ(status.size(), cpu::cpu_kernels().size());
  for (size_t i = 0; i < status.size(); ++i) {
    const bool needs_more = (cpu::cpu_kernels()[i].features & ~uint32_t{kAvx2}) != 0;
    EXPECT_EQ(status[i].name, cpu::cpu_kernels()[i].name);
    EXPECT_EQ(status[i].why_not.starts_with("needs A"), needs_more) << status[i].why_not;
    EXPECT_EQ(status[i].why_not.empty(), !needs_more) << status[i].name;
  }
}

TEST(SelectRow, SharedMemoryIsCheckedBeforeAnyLaunch) {
  KernelTraits wide = kGpuRows[2];
  wide.smem = 160 << 10;
  const Problem p{.m = 64, .n = 64, .k = 128};
  DeviceInfo device = gpu(86);
  EXPECT_EQ(refusal(wide, p, device), "needs 163840 bytes of shared memory a block, this device has 49152");
  device.smem_per_block = 99 << 10;
  EXPECT_EQ(refusal(wide, p, device), "needs 163840 bytes of shared memory a block, this device has 101376");
  device.smem_per_block = 163 << 10;
  EXPECT_EQ(refusal(wide, p, device), "");
}

TEST(SelectRow, WhereNothingFitsTheCpuIsNamed) {
  try {
    select_row(kGpuRows, {.m = 1, .n = 64, .k = 128}, gpu(52), "auto");
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kDevice);
    EXPECT_THAT(e.what(), HasSubstr("nothing else fits: use --device cpu"));
  }
}

}  // namespace
}  // namespace awq::backend
