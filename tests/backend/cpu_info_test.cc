#include "backend/cpu/cpu_info.h"

#include <gmock/gmock.h>

#include "awq/devices.h"
#include "awq/error.h"

namespace awq::backend::cpu {
namespace {

constexpr uint32_t kAll = kAvx2 | kAvx512 | kAvx512Vnni | kAvx512Bf16 | kAmxInt8 | kAmxBf16 | kAvxVnni;

TEST(CpuFeatures, CapsNestAndNeverAdd) {
  EXPECT_EQ(capped_features(kAll, ""), kAll);
  EXPECT_EQ(capped_features(kAll, "portable"), 0u);
  EXPECT_EQ(capped_features(kAll, "avx2"), uint32_t{kAvx2});
  EXPECT_EQ(capped_features(kAll, "avxvnni"), uint32_t{kAvx2 | kAvxVnni});
  EXPECT_EQ(capped_features(kAll, "avx512"), uint32_t{kAvx2 | kAvxVnni | kAvx512 | kAvx512Bf16});
  EXPECT_EQ(capped_features(kAvx2, "avx512vnni"), uint32_t{kAvx2});
}

TEST(CpuFeatures, AnUnknownCapNamesTheKnownOnes) {
  try {
    capped_features(kAll, "sse9");
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUsage);
    EXPECT_THAT(e.what(), ::testing::AllOf(::testing::HasSubstr("sse9"), ::testing::HasSubstr("avx512vnni")));
  }
}

TEST(CpuFeatures, WordsNameEachFeature) {
  EXPECT_THAT(architecture_words(kAvx2 | kAvx512), ::testing::EndsWith(" AVX2 AVX-512"));
  EXPECT_EQ(architecture_words(0).find(' '), std::string::npos);
}

TEST(Devices, TheCpuComesFirstAndIsDescribed) {
  const std::vector<DeviceInfo> all = devices();
  ASSERT_FALSE(all.empty());
  EXPECT_EQ(all[0].kind, DeviceKind::kCpu);
  EXPECT_FALSE(all[0].name.empty());
  EXPECT_GT(all[0].compute_units, 0);
  EXPECT_GT(all[0].memory_bytes, uint64_t{1} << 20);
  EXPECT_TRUE(all[0].unusable.empty());
}

}  // namespace
}  // namespace awq::backend::cpu
