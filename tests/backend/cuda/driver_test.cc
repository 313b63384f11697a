// Detection against drivers that are missing, old, broken, lying, and some that are right.
#include "backend/cuda/driver.h"

#include <gmock/gmock.h>

#include "backend/cuda/driver_api.h"
#include "backend/cuda/driver_failures.h"
#include "backend/cuda/fake_driver.h"
#include "scratch.h"

namespace awq::backend::cuda {
namespace {

using test::detect_with;
using test::Environment;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// The reason why nothing was found.
std::string none_because(const std::vector<DeviceInfo>& found) {
  EXPECT_THAT(found, SizeIs(1));
  EXPECT_EQ(found.front().kind, DeviceKind::kCuda);
  EXPECT_EQ(found.front().index, -1);
  return found.front().unusable;
}

// ---- no driver ------------------------------------------------------------------------------------------------------

TEST(Driver, MissingSaysWhatToInstall) {
  EXPECT_THAT(none_because(detect({.cuda = "libcuda-of-nobody.so.1", .nvml = {}, .release = {}})),
              AllOf(HasSubstr("no NVIDIA driver found, libcuda-of-nobody.so.1"), HasSubstr("--gpus all"),
                    HasSubstr("--device cpu")));
}

TEST(Driver, AFileThatIsNoLibrary) {
  const test::ScratchFolder folder;
  const std::string file = folder.put("libcuda.so.1", "text");
  EXPECT_THAT(none_because(detect({.cuda = file, .nvml = {}, .release = {}})),
              AllOf(HasSubstr("cannot load the NVIDIA driver: " + file), HasSubstr("file too short")));
}

TEST(Driver, ALibraryOfSomethingElse) {
  EXPECT_THAT(none_because(detect_with("other")), HasSubstr("libcuda.so.1 is not an NVIDIA driver: it has no cuInit"));
}

TEST(Driver, TheToolkitsStubIsNamed) {
  EXPECT_THAT(none_because(detect_with("stub")),
              AllOf(HasSubstr("/stub/libcuda.so.1 is the CUDA toolkit's stub"), HasSubstr("LD_LIBRARY_PATH")));
}

// ---- failures of the driver -----------------------------------------------------------------------------------------

struct Failing {
  int code;
  const char* says;
};

constexpr Failing kFailing[] = {
    {2, "found no memory"},
    {3, "forked"},
    {46, "nvidia-smi -c 0"},
    {101, "reboot"},
    {201, "Xid"},
    {214, "-q -d ECC"},
    {220, "nvlink --status"},
    {304, "/dev/nvidia*"},
    {801, "install the driver"},
    {802, "start nvidia-fabricmanager"},
    {803, "reload the nvidia module"},
    {804, "LD_LIBRARY_PATH"},
    {805, "MPS"},
    {806, "MPS"},
    {807, "MPS"},
    {808, "MPS"},
    {999, "nvidia_uvm"},
};

TEST(Driver, EveryFailureHasItsSentenceWithARemedy) {
  for (const auto& [code, says] : kFailing) {
    const Environment environment{{"FAKE_CUDA_INIT", std::to_string(code)}};
    EXPECT_THAT(none_because(detect_with("good")),
                AllOf(HasSubstr(says), HasSubstr("(CUDA error " + std::to_string(code) + ")")));
  }
}

TEST(Driver, AFailureOfALaterCallHasTheSameSentence) {
  const Environment environment{{"FAKE_CUDA_DEVICES", "NVIDIA H200:90"}, {"FAKE_CUDA_DEVICE", "46"}};
  const auto found = detect_with("good");
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].index, 0);
  EXPECT_THAT(found[0].unusable, HasSubstr("every GPU is busy or closed"));
}

TEST(Driver, AnUnlistedFailureGivesTheDriversWords) {
  const Environment unlisted{{"FAKE_CUDA_INIT", "4242"}};
  EXPECT_THAT(none_because(detect_with("good")), HasSubstr("returned error 4242, words of the driver when starting"));
  const Environment wordless{{"FAKE_CUDA_ODD", "error-has-no-words"}};
  EXPECT_THAT(none_because(detect_with("good")), HasSubstr("returned error 4242 when starting"));
  const Environment unknown{{"FAKE_CUDA_INIT", "4321"}, {"FAKE_CUDA_ODD", ""}};
  EXPECT_THAT(none_because(detect_with("good")), HasSubstr("returned error 4321 when starting"));
}

// ---- hidden devices -------------------------------------------------------------------------------------------------

TEST(Driver, HiddenDevicesNameTheVariable) {
  for (const std::string value : {"", "-1"}) {
    const Environment environment{{"FAKE_CUDA_DEVICES", "NVIDIA H200:90"}, {"CUDA_VISIBLE_DEVICES", value}};
    EXPECT_THAT(none_because(detect_with("good")),
                HasSubstr("hidden by CUDA_VISIBLE_DEVICES='" + value + "': unset it"));
  }
}

TEST(Driver, NoDeviceAtAllIsSomethingElse) {
  const Environment environment{{"FAKE_CUDA_INIT", "100"}};
  EXPECT_THAT(none_because(detect_with("good")), AllOf(HasSubstr("sees no GPU"), Not(HasSubstr("VISIBLE"))));
  const Environment counts_none{{"FAKE_CUDA_INIT", "0"}};
  EXPECT_THAT(none_because(detect_with("good")), HasSubstr("sees no GPU")) << "a count of 0 means the same";
}

// ---- devices --------------------------------------------------------------------------------------------------------

TEST(Driver, DescribesADevice) {
  const Environment environment{{"FAKE_CUDA_DEVICES", "NVIDIA H200:90"}, {"FAKE_NVML_RELEASE", "580.159.04"}};
  const auto found = detect_with("good");
  ASSERT_THAT(found, SizeIs(1));
  const DeviceInfo& d = found[0];
  EXPECT_EQ(d.kind, DeviceKind::kCuda);
  EXPECT_EQ(d.index, 0);
  EXPECT_EQ(d.name, "NVIDIA H200");
  EXPECT_EQ(d.architecture, "Hopper");
  EXPECT_EQ(d.capability, 90);
  EXPECT_EQ(d.compute_units, 132);
  EXPECT_EQ(d.memory_bytes, uint64_t{141} << 30);
  EXPECT_EQ(d.last_cache_bytes, 60u << 20);
  EXPECT_EQ(d.smem_per_block, 227u << 10);
  EXPECT_DOUBLE_EQ(d.memory_bandwidth, 2 * 3.201e9 * 6144 / 8);
  EXPECT_EQ(d.driver_version, "580.159.04");
  EXPECT_EQ(d.driver_cuda_version, 13000);
  EXPECT_FALSE(d.mig);
  EXPECT_EQ(d.uuid, "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f");
  EXPECT_EQ(d.unusable, "");
}

TEST(Driver, ASliceOfACardIsMarked) {
  const Environment environment{{"FAKE_CUDA_DEVICES", "NVIDIA A100-SXM4-40GB MIG 1g.5gb:80"}};
  const auto found = detect_with("good");
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_TRUE(found[0].mig);
  EXPECT_EQ(found[0].uuid.substr(0, 5), "MIG-0");
  EXPECT_EQ(found[0].memory_bandwidth, 0) << "the card's, not the slice's";
  EXPECT_EQ(found[0].unusable, "");
}

TEST(Driver, ASliceMayBeKnownByTheVariableAlone) {
  const Environment environment{{"FAKE_CUDA_DEVICES", "NVIDIA H200:90"}, {"CUDA_VISIBLE_DEVICES", "MIG-1-2-3"}};
  EXPECT_TRUE(detect_with("good").at(0).mig);
}

TEST(Driver, MixedDevicesAreEachJudged) {
  const Environment environment(
      {{"FAKE_CUDA_DEVICES", "NVIDIA H200:90;Tesla K40:35;GTX 1080:61;Tesla T4:75;B900:130"}});
  constexpr BuiltFor kCode[] = {{75, true, false, false}, {90, true, false, false}, {120, true, true, false}};
  const auto found = detect_with("good", 13, kCode);
  ASSERT_THAT(found, SizeIs(5));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(found[static_cast<size_t>(i)].index, i);
  EXPECT_EQ(found[0].unusable, "");
  EXPECT_THAT(found[1].unusable, HasSubstr("compute capability 3.5 (Kepler), every kernel here needs 6.0 or higher"));
  EXPECT_THAT(found[2].unusable, AllOf(HasSubstr("6.1 (Pascal), this build has code for 7.5, 9.0, 12.0"),
                                       HasSubstr("CUDA 13 dropped it, take a build made with CUDA 12")));
  EXPECT_EQ(found[3].unusable, "");
  EXPECT_EQ(found[4].unusable, "") << "the driver compiles the PTX of 12.0 for it";
  EXPECT_EQ(found[4].code_capability, 120);
}

TEST(Driver, ABuildForOtherCardsSaysHowToRebuild) {
  const Environment environment{{"FAKE_CUDA_DEVICES", "NVIDIA A100:80"}};
  constexpr BuiltFor kHopperOnly[] = {{90, true, true, true}};
  EXPECT_THAT(detect_with("good", 13, kHopperOnly).at(0).unusable,
              HasSubstr("rebuild with -DAWQ_CUDA_ARCHITECTURES=80"));
}

TEST(Driver, CodeOfAnOlderChipDecidesWhatRuns) {
  const Environment environment{{"FAKE_CUDA_DEVICES", "NVIDIA H200:90"}};
  constexpr BuiltFor kPtxOfAmpere[] = {{80, false, true, false}};
  const auto found = detect_with("good", 13, kPtxOfAmpere);
  const Problem long_prompt{.m = 512, .n = 4096, .k = 4096};
  EXPECT_EQ(select_kernel(found.at(0), long_prompt), "gemm_w4a16_mma_sm80");
  for (const KernelStatus& row : kernel_status(found.at(0), long_prompt)) {
    if (row.name != "gemm_w4a16_wgmma_sm90a") continue;
    EXPECT_EQ(row.why_not, "needs compute capability 9.0, this device has 9.0 and this build has code of 8.0 for it");
  }
}

TEST(Driver, AnOldOneIsTooOldForTheBuildNotForTheDevice) {
  const Environment environment{{"FAKE_CUDA_DEVICES", "NVIDIA H100:90"}, {"FAKE_CUDA_VERSION", "12040"}};
  EXPECT_EQ(detect_with("good", 12).at(0).unusable, "");
  EXPECT_THAT(detect_with("good", 13).at(0).unusable,
              AllOf(HasSubstr("the driver supports CUDA 12.4, this build needs 13.0 (driver 580.65 or newer)"),
                    HasSubstr("--device cpu")));
  EXPECT_THAT(too_old_for(14, 13000), HasSubstr("needs 14.0: update")) << "no release known for it";
}

TEST(Driver, AProhibitedDeviceSaysHowToOpenIt) {
  const Environment environment{{"FAKE_CUDA_DEVICES", "NVIDIA H100:90"}, {"FAKE_CUDA_ODD", "prohibited"}};
  EXPECT_THAT(detect_with("good").at(0).unusable, HasSubstr("nvidia-smi -c 0"));
}

// ---- a driver that lies ---------------------------------------------------------------------------------------------

TEST(Driver, AnImpossibleCountIsNotBelieved) {
  for (const std::string count : {"-1", "-2147483648", "1025", "2147483647"}) {
    const Environment environment{{"FAKE_CUDA_COUNT", count}};
    EXPECT_THAT(none_because(detect_with("good")), HasSubstr("reports " + count + " devices"));
  }
}

TEST(Driver, AnImpossibleVersionIsNotBelieved) {
  for (const std::string version : {"-5", "0", "2147483647"}) {
    const Environment environment{{"FAKE_CUDA_DEVICES", "NVIDIA H100:90"}, {"FAKE_CUDA_VERSION", version}};
    EXPECT_EQ(detect_with("good").at(0).driver_cuda_version, 0);
    EXPECT_THAT(detect_with("good").at(0).unusable, HasSubstr("does not tell which CUDA it supports"));
  }
}

TEST(Driver, AnOddNameIsMadeFit) {
  constexpr std::pair<const char*, const char*> kOdd[] = {
      {"name-fails", "NVIDIA GPU"}, {"name-is-untouched", "NVIDIA GPU"}, {"name-is-binary", "?[31mGPU?"}};
  for (const auto& [odd, name] : kOdd) {
    const Environment environment{{"FAKE_CUDA_DEVICES", "NVIDIA H100:90"}, {"FAKE_CUDA_ODD", odd}};
    EXPECT_EQ(detect_with("good").at(0).name, name);
  }
  const Environment environment{{"FAKE_CUDA_DEVICES", "NVIDIA H100:90"}, {"FAKE_CUDA_ODD", "name-never-ends"}};
  EXPECT_EQ(detect_with("good").at(0).name, std::string(256, 'A'));
}

TEST(Driver, OddAttributesMakeADeviceUnusable) {
  for (const char* odd : {"attributes-fail", "attributes-are-negative", "attributes-are-huge"}) {
    const Environment environment{{"FAKE_CUDA_DEVICES", "NVIDIA H100:90"}, {"FAKE_CUDA_ODD", odd}};
    const DeviceInfo d = detect_with("good").at(0);
    EXPECT_THAT(d.unusable, HasSubstr("does not tell its compute capability")) << odd;
    EXPECT_GE(d.compute_units, 0);
    EXPECT_GE(d.memory_bandwidth, 0);
  }
}

// ---- its release ----------------------------------------------------------------------------------------------------

TEST(DriverRelease, IsReadFromTheKernelModulesWords) {
  const test::ScratchFolder folder;
  const auto release_of = [&](std::string_view words) {
    return driver_release(folder.put("version", words), test::fake_driver("good"));
  };
  const Environment environment{{"FAKE_NVML_RELEASE", "123.4"}};
  EXPECT_EQ(release_of("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n"
                       "GCC version:  gcc version 12.2.0\n"),
            "535.104.05");
  EXPECT_EQ(release_of("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n"),
            "580.65.06");
  EXPECT_EQ(release_of(""), "123.4") << "NVML knows, where the file says nothing";
  EXPECT_EQ(release_of("\x00\xff garbage 12 1.2"), "123.4");
  EXPECT_EQ(driver_release("/no/such", test::fake_driver("stub")), "") << "neither";
  EXPECT_EQ(driver_release("/no/such", "/no/such.so"), "");
}

TEST(DriverRelease, DoesNotBelieveNvmlEverything) {
  for (const std::string& words : {std::string(500, '9'), std::string("\x1b[31m"), std::string("unknown")}) {
    const Environment environment{{"FAKE_NVML_RELEASE", words}};
    EXPECT_EQ(driver_release("/no/such", test::fake_driver("good")), "");
  }
}

}  // namespace
}  // namespace awq::backend::cuda
