#include "backend/cuda/capabilities.h"

#include <gmock/gmock.h>

#include "awq/error.h"

namespace awq::backend::cuda {
namespace {

TEST(Capabilities, AscendWithoutGapsInWhatIsKnown) {
  for (size_t i = 0; i < capability_rows().size(); ++i) {
    const CapabilityRow& row = capability_rows()[i];
    const int before = i == 0 ? 0 : capability_rows()[i - 1].capability;
    EXPECT_LT(before, row.capability);
    EXPECT_GT(row.multiprocessors, 0) << row.capability;
    EXPECT_GE(row.smem_kib, 48) << row.capability;
    EXPECT_GT(row.memory_gb, 0) << row.capability;
    EXPECT_GT(row.gb_a_second, 0) << row.capability;
    EXPECT_EQ(row.last_toolkit == 0, row.capability >= 75) << "CUDA 13 compiles for 7.5 and later";
  }
}

TEST(Capabilities, NameTheArchitecture) {
  constexpr std::pair<int, std::string_view> kNames[] = {{35, "Kepler"},
                                                         {52, "Maxwell"},
                                                         {61, "Pascal"},
                                                         {70, "Volta"},
                                                         {75, "Turing"},
                                                         {80, "Ampere"},
                                                         {86, "Ampere"},
                                                         {88, "Ampere"},
                                                         {89, "Ada"},
                                                         {90, "Hopper"},
                                                         {100, "Blackwell"},
                                                         {121, "Blackwell"},
                                                         {0, "unknown architecture"},
                                                         {21, "unknown architecture"},
                                                         {130, "unknown architecture"},
                                                         {-5, "unknown architecture"}};
  for (const auto& [capability, name] : kNames) EXPECT_EQ(architecture_name(capability), name) << capability;
}

TEST(AssumedDevice, TakesEverySpelling) {
  for (const std::string_view text : {"8.6", "86", "sm_86", "compute_86"})
    EXPECT_EQ(assumed_device(text).capability, 86);
  EXPECT_EQ(assumed_device("sm_90a").capability, 90);
  EXPECT_EQ(assumed_device("sm_120f").capability, 120);
  EXPECT_EQ(assumed_device("10.0").capability, 100);
}

TEST(AssumedDevice, IsATypicalCard) {
  const DeviceInfo t4 = assumed_device("7.5");
  EXPECT_EQ(t4.kind, DeviceKind::kCuda);
  EXPECT_EQ(t4.name, "NVIDIA Tesla T4");
  EXPECT_EQ(t4.compute_units, 40);
  EXPECT_EQ(t4.smem_per_block, 64u << 10);
  EXPECT_EQ(t4.unusable, "");
}

TEST(AssumedDevice, MayBeNewerThanThisProgram) {
  const DeviceInfo later = assumed_device("13.0");
  EXPECT_EQ(later.capability, 130);
  EXPECT_EQ(later.architecture, "unknown architecture");
  EXPECT_EQ(later.smem_per_block, 0u) << "nothing is claimed of it";
}

TEST(AssumedDevice, RefusesWhatIsNoCapability) {
  for (const std::string_view text :
       {"", "x", "8", "8.", ".6", "8.66", "86.0.1", "sm_", "-8.6", "1234", "8,6", "+86", " 86"}) {
    try {
      assumed_device(text);
      FAIL() << "'" << text << "' accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUsage);
      EXPECT_THAT(e.what(), testing::HasSubstr("write 8.6 or sm_86"));
    }
  }
}

}  // namespace
}  // namespace awq::backend::cuda
