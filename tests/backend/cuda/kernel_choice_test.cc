// Which kernel each NVIDIA GPU gets, for every shape that the benchmarks use and ragged ones: always a row or a reason.
#include <gmock/gmock.h>

#include <algorithm>
#include <charconv>

#include "backend/cuda/fake_driver.h"
#include "backend/cuda/kernel_rows.h"
#include "backend/row_or_reason.h"

namespace awq::backend::cuda {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kCards[] = {"3.5", "5.2", "6.0", "6.1", "7.0",  "7.5",  "8.0",
                                  "8.6", "8.7", "8.9", "9.0", "10.0", "12.0", "13.0"};
constexpr int kLeast = 60;  // the portable kernels' compute capability

struct Shape {
  int64_t n, k;
};
// Llama-2-7B, Llama-3-8B and Llama-3-70B: qkv, o, gate and up, down.
constexpr Shape kModels[] = {{4096, 4096},  {6144, 4096},  {12288, 4096}, {22016, 4096}, {28672, 4096}, {4096, 11008},
                             {4096, 14336}, {10240, 8192}, {8192, 8192},  {57344, 8192}, {8192, 28672}};
constexpr Shape kRagged[] = {{8, 128}, {24, 256}, {4104, 4096}, {4096, 4224}, {72, 11136}};
constexpr Shape kRefused[] = {{4097, 4096}, {4, 128}, {64, 100}, {64, 4100}, {0, 128}, {64, 0}, {-8, 128}, {8, -128}};
constexpr int kGroups[] = {32, 64, 128, -1};  // -1: one group for all of k
constexpr std::string_view kFamilies[] = {"auto", "gemm", "gemv"};

DeviceInfo slice_of_an_a100() {
  DeviceInfo slice = assumed_device("8.0");
  slice.name = "NVIDIA A100-SXM4-40GB MIG 1g.5gb";
  slice.mig = true;
  slice.compute_units = 14;
  slice.memory_bytes = 5'000'000'000;
  return slice;
}

std::vector<DeviceInfo> cards() {
  std::vector<DeviceInfo> all = {slice_of_an_a100()};
  for (const char* capability : kCards) all.push_back(assumed_device(capability));
  return all;
}

Problem problem(const Shape& shape, int group, int64_t m, bool bf16) {
  return {
      .m = m, .n = shape.n, .k = shape.k, .group_size = group == -1 ? static_cast<int>(shape.k) : group, .bf16 = bf16};
}

// What the name says the kernel was written for: 80 of "gemm_w4a16_mma_sm80", 0 without one.
int capability_in(std::string_view name) {
  int capability = 0;
  const size_t at = name.rfind("_sm");
  if (at != name.npos) std::from_chars(name.data() + at + 3, name.data() + name.size(), capability);
  return capability;
}

// "" when `row` may run there, judged by its name alone and not by the limits in the table.
std::string mistake(const KernelTraits& row, const DeviceInfo& device, const Problem& p) {
  const int written_for = capability_in(row.name);
  if (written_for > device.capability) return "written for a newer chip";
  if (row.name.ends_with("a") && written_for > 0 && written_for != device.capability)
    return "written for one chip alone";
  if (p.bf16 && written_for == 75) return "Turing's tensor cores have no bfloat16";
  return {};
}

// The choice, or null with the reason checked.
const KernelTraits* row_or_reason(const DeviceInfo& device, const Problem& p, std::string_view version) {
  try {
    return &kCudaRows[select_row(kCudaRows, p, device, version)];
  } catch (const Error& e) {
    const std::string_view what = e.what();
    const bool hardware = what.starts_with("Kernel version not supported on this hardware: ");
    EXPECT_EQ(e.kind(), hardware ? ErrorKind::kDevice : ErrorKind::kBadInput) << what;
    const bool impossible = what.find("sizes must be positive") != what.npos;
    EXPECT_NE(what.find("use ") != what.npos, impossible) << "what to use instead: " << what;
    return nullptr;
  }
}

// Runs `check` over every group and both types of activation.
template <class Check>
void for_every(const Shape& shape, int64_t m, const Check& check) {
  for (const int group : kGroups)
    for (const bool bf16 : {false, true})
      if (group == -1 || shape.k % group == 0) check(problem(shape, group, m, bf16));
}

void expect_a_right_row(const DeviceInfo& device, const Problem& p, std::string_view version) {
  const KernelTraits* row = row_or_reason(device, p, version);
  ASSERT_EQ(row != nullptr, device.capability >= kLeast) << device.name << ' ' << to_string(p) << ' ' << version;
  if (row == nullptr) return;
  ASSERT_EQ(mistake(*row, device, p), "") << row->name << " on " << device.name << ' ' << to_string(p);
  ASSERT_TRUE(version == "auto" || version == name(row->family)) << row->name;
}

TEST(KernelChoice, EveryShapeOfEveryModelRunsFrom60On) {
  for (const DeviceInfo& device : cards())
    for (const std::span<const Shape> shapes : {std::span<const Shape>(kModels), std::span<const Shape>(kRagged)})
      for (const Shape& shape : shapes)
        for (const int64_t m : {1, 2, 8, 9, 16, 17, 64, 128, 512, 2048})
          for_every(shape, m, [&](const Problem& p) {
            for (const std::string_view version : kFamilies) expect_a_right_row(device, p, version);
          });
}

TEST(KernelChoice, EveryNumberOfTokensRuns) {
  for (const DeviceInfo& device : cards())
    for (int64_t m = 1; m <= 2048; ++m)
      for_every(kModels[0], m, [&](const Problem& p) { expect_a_right_row(device, p, "auto"); });
}

TEST(KernelChoice, EveryVersionIsARowOrAReason) {
  for (const DeviceInfo& device : cards())
    for (const std::string& version : backend::test::versions_of(kCudaRows))
      for (const std::span<const Shape> shapes : {std::span<const Shape>(kModels), std::span<const Shape>(kRefused)})
        for (const Shape& shape : shapes)
          for (const int64_t m : {1, 16, 17, 512})
            for (const int group : kGroups)
              backend::test::expect_row_or_reason(kCudaRows, problem(shape, group, m, m == 512), device, version);
}

// The crossovers of kernel_rows.h: on Hopper the gemv that reads straight into registers while all its blocks run at
// once, the pipeline elsewhere; on other chips as far as its tokens go.
struct Choice {
  const char* card;
  int64_t n, k, m;
  std::string_view row;
};
constexpr Choice kChoices[] = {
    {"9.0", 4096, 4096, 1, "gemv_w4a16_mma_sm80"},     {"9.0", 4096, 4096, 8, "gemv_w4a16_mma_sm80"},
    {"9.0", 4096, 4096, 9, "gemv_w4a16_bulk_sm90a"},   {"9.0", 4096, 28672, 8, "gemv_w4a16_mma_sm80"},
    {"9.0", 4224, 4096, 8, "gemv_w4a16_mma_sm80"},     {"9.0", 4232, 4096, 8, "gemv_w4a16_bulk_sm90a"},
    {"9.0", 8192, 8192, 2, "gemv_w4a16_mma_sm80"},     {"9.0", 8192, 8192, 4, "gemv_w4a16_bulk_sm90a"},
    {"9.0", 6144, 4096, 4, "gemv_w4a16_mma_sm80"},     {"9.0", 6144, 4096, 8, "gemv_w4a16_bulk_sm90a"},
    {"9.0", 8192, 28672, 1, "gemv_w4a16_bulk_sm90a"},  {"9.0", 28672, 4096, 1, "gemv_w4a16_bulk_sm90a"},
    {"9.0", 28672, 4096, 16, "gemv_w4a16_bulk_sm90a"}, {"9.0", 28672, 4096, 17, "gemm_w4a16_wgmma_sm90a"},
    {"9.0", 4096, 4096, 17, "gemm_w4a16_wgmma_sm90a"}, {"8.0", 28672, 4096, 1, "gemv_w4a16_mma_sm80"},
    {"8.0", 4096, 4096, 8, "gemv_w4a16_mma_sm80"},     {"8.0", 8192, 28672, 8, "gemv_w4a16_mma_sm80"},
    {"8.0", 4096, 4096, 9, "gemm_w4a16_mma_sm80"},     {"10.0", 28672, 4096, 1, "gemv_w4a16_mma_sm80"},
    {"7.5", 28672, 4096, 8, "gemv_w4a16_mma_sm75"},
};

TEST(KernelChoice, FollowsTheMeasuredCrossovers) {
  for (const Choice& c : kChoices) {
    const Problem p{.m = c.m, .n = c.n, .k = c.k};
    const DeviceInfo device = assumed_device(c.card);
    EXPECT_EQ(kCudaRows[select_row(kCudaRows, p, device, "auto")].name, c.row) << c.card << ' ' << to_string(p);
  }
}

TEST(KernelChoice, CrossoversFollowTheMultiprocessors) {
  DeviceInfo slice = assumed_device("9.0");
  slice.compute_units = 60;  // 3g of an H100
  const auto chosen = [&](int64_t n, int64_t m) {
    return kCudaRows[select_row(kCudaRows, {.m = m, .n = n, .k = 4096}, slice, "auto")].name;
  };
  EXPECT_EQ(chosen(1024, 8), "gemv_w4a16_mma_sm80");
  EXPECT_EQ(chosen(4096, 8), "gemv_w4a16_bulk_sm90a");
}

TEST(KernelChoice, AnImpossibleShapeIsRefusedAsTheInputItIs) {
  const DeviceInfo device = assumed_device("9.0");
  for (const Shape& shape : kRefused)
    for (const std::string_view version : kFamilies) {
      const Problem p = problem(shape, -1, 1, false);
      EXPECT_THROW(select_row(kCudaRows, p, device, version), Error) << to_string(p);
      EXPECT_EQ(row_or_reason(device, p, version), nullptr) << to_string(p);
    }
  for (const int64_t m : {int64_t{0}, int64_t{-1}, INT64_MIN})
    EXPECT_EQ(row_or_reason(device, problem(kModels[0], 128, m, false), "auto"), nullptr) << m;
  for (const int group : {0, -2, 3, 48, 96, 100, 4097, INT32_MAX, INT32_MIN}) {
    Problem p = problem(kModels[0], 128, 1, false);
    p.group_size = group;
    EXPECT_EQ(row_or_reason(device, p, "auto"), nullptr) << group;
  }
}

std::string refusal_on(const char* capability, const Problem& p, std::string_view version) {
  try {
    return std::string("accepted: ") + select_kernel(assumed_device(capability), p, version);
  } catch (const Error& e) {
    return e.what();
  }
}

TEST(KernelChoice, ARefusalNamesWhatIsThereWhatIsNeededAndWhatToUse) {
  const Problem p{.m = 64, .n = 4096, .k = 4096};
  EXPECT_THAT(
      refusal_on("8.6", p, "gemm_w4a16_wgmma_sm90a"),
      AllOf(StartsWith("Kernel version not supported on this hardware: gemm_w4a16_wgmma_sm90a on NVIDIA GeForce RTX "
                       "3090: "),
            HasSubstr("needs compute capability 9.0, this device has 8.6"),
            HasSubstr("; use gemm_w4a16_mma_sm80 or "
                      "auto")));
  EXPECT_THAT(refusal_on("10.0", p, "gemm_w4a16_wgmma_sm90a"), HasSubstr("this device has 10.0"));
  EXPECT_THAT(refusal_on("6.1", p, "gemm_w4a16_mma_sm80"), HasSubstr("needs compute capability 8.0 or higher"));
  EXPECT_THAT(refusal_on("5.2", p, "auto"), AllOf(HasSubstr("this device has 5.2"), HasSubstr("use --device cpu")));
}

TEST(KernelChoice, ThereIsARowForEveryCardThatCanRunOne) {
  EXPECT_EQ(std::ranges::min(kCudaRows, {}, &KernelTraits::capability_min).capability_min, kLeast);
  for (const KernelTraits& row : kCudaRows) EXPECT_EQ(std::ranges::count(kCudaRows, row.name, &KernelTraits::name), 1);
}

TEST(KernelChoice, WithoutADeviceTheReasonIsTheDrivers) {
  const DeviceInfo none = awq::test::detect_with("stub").at(0);
  try {
    select_kernel(none, {.m = 1, .n = 4096, .k = 4096});
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kDevice);
    EXPECT_THAT(e.what(), StartsWith("Kernel version not supported on this hardware: auto on CUDA: "));
    EXPECT_THAT(e.what(), HasSubstr("stub for linking"));
  }
}

TEST(KernelChoice, MixedDevicesEachHaveTheirOwn) {
  const awq::test::Environment environment{{"FAKE_CUDA_DEVICES", "NVIDIA H200:90;Tesla T4:75;GTX 980:52"}};
  const std::vector<DeviceInfo> mixed = awq::test::detect_with("good");
  const Problem p{.m = 512, .n = 4096, .k = 4096};
  ASSERT_EQ(mixed.size(), 3u);
  for (const DeviceInfo& device : mixed) {
    const KernelTraits* row = row_or_reason(device, p, "auto");
    ASSERT_EQ(row != nullptr, device.unusable.empty()) << device.name;
    EXPECT_EQ(row == nullptr ? "" : mistake(*row, device, p), "") << device.name;
  }
}

TEST(KernelChoice, TheOracleSeesAWrongRow) {  // tests mistake() above
  const Problem f16{.m = 1, .n = 64, .k = 128}, bf16{.m = 1, .n = 64, .k = 128, .bf16 = true};
  const KernelTraits wgmma{.name = "gemm_x_sm90a", .family = KernelFamily::kGemm, .device = DeviceKind::kCuda};
  const KernelTraits turing{.name = "gemm_x_sm75", .family = KernelFamily::kGemm, .device = DeviceKind::kCuda};
  EXPECT_NE(mistake(wgmma, assumed_device("8.0"), f16), "");
  EXPECT_NE(mistake(wgmma, assumed_device("10.0"), f16), "");
  EXPECT_EQ(mistake(wgmma, assumed_device("9.0"), f16), "");
  EXPECT_NE(mistake(turing, assumed_device("9.0"), bf16), "");
  EXPECT_EQ(mistake(turing, assumed_device("9.0"), f16), "");
}

}  // namespace
}  // namespace awq::backend::cuda
