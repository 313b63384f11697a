// What the C API refuses, with which status and in which words; and the choice of kernels for GPUs that are not here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <optional>

#include "backend/cuda/built_for.h"
#include "backend/cuda/current_gpu.h"
#include "backend/cuda/failure.h"
#include "backend/cuda/gpu/device_case.h"
#include "backend/cuda/kernel_rows.h"
#include "backend/cuda/selection.h"

namespace awq::backend::cuda::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(BuiltFor, MachineCodeRunsOnLaterMinorsAndPtxOnEverythingLater) {
  constexpr BuiltFor kRelease[] = {
      {75, true, false, false}, {80, true, false, false}, {90, true, false, false}, {120, true, true, false}};
  EXPECT_EQ(usable_capability(kRelease, 70), 0);
  EXPECT_EQ(usable_capability(kRelease, 75), 75);
  EXPECT_EQ(usable_capability(kRelease, 86), 80);
  EXPECT_EQ(usable_capability(kRelease, 90), 90);
  EXPECT_EQ(usable_capability(kRelease, 100), 0);
  EXPECT_EQ(usable_capability(kRelease, 121), 120);
  EXPECT_EQ(usable_capability(kRelease, 130), 120);
  EXPECT_EQ(capabilities_of(kRelease), "7.5, 8.0, 9.0, 12.0");
}

TEST(BuiltFor, OldPtxStandsForOldKernelsOnNewChips) {
  constexpr BuiltFor kOldPtx[] = {{75, false, true, false}};
  EXPECT_EQ(usable_capability(kOldPtx, 90), 75);
  constexpr BuiltFor kHopperOnly[] = {{90, true, true, true}};
  EXPECT_EQ(usable_capability(kHopperOnly, 90), 90);
  EXPECT_EQ(usable_capability(kHopperOnly, 100), 0);
}

// Launches ask it whether a kernel waits for the one before it, or knows clusters: its code decides, not the chip.
TEST(BuiltFor, IsTheCapabilityOfTheCurrentGpu) {
  if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
  const Gpu gpu = current_gpu();
  EXPECT_EQ(gpu.capability, as_device_info(gpu).capability);
}

// Sizes need no device.
TEST(LayoutBytes, ArePaddedAndZeroForWhatIsNotSupported) {
  const awq_cuda_bytes bytes = awq_cuda_layout_bytes(72, 160, 32);  // padded to 128 x 256
  EXPECT_EQ(bytes.qweight, 128u * 256 / 2);
  EXPECT_EQ(bytes.scales, 128u * 8 * 2);
  EXPECT_EQ(bytes.zeros, 128u * 8 / 2);
  const int64_t refused[][3] = {{0, 128, 128}, {12, 128, 128}, {8, 12, 12},
                                {8, 128, 0},   {8, 128, 16},   {8, 192, 96},
                                {8, 128, 48},  {-8, 128, 128}, {8, int64_t{1} << 40, 128}};
  for (const auto& [n, k, group] : refused) {
    const awq_cuda_bytes none = awq_cuda_layout_bytes(n, k, static_cast<int32_t>(group));
    EXPECT_EQ(none.qweight + none.scales + none.zeros, 0u) << n << " " << k << " " << group;
  }
}

TEST(AbiVersion, IsTheHeaders) { EXPECT_EQ(awq_cuda_abi_version(), AWQ_CUDA_ABI_VERSION); }

// A linear that is right in every respect, and one call with all of it.
class BadInput : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
    memory_.emplace(size_t{1} << 20);
    void* p = memory_->data();
    linear_ = {.n = 64,
               .k = 128,
               .group_size = 128,
               .qweight = p,
               .scales = p,
               .zeros = p,
               .bias = p,
               .salient_count = 1,
               .salient_index = static_cast<int32_t*>(p),
               .salient_delta = p};
    x_ = y_ = workspace_ = p;
  }
  awq_cuda_status forward() {
    return awq_cuda_forward(version_, &linear_, type_, m_, x_, y_, workspace_, workspace_bytes_, nullptr, &message_);
  }
  void expect(awq_cuda_status status, const char* words) {
    EXPECT_EQ(forward(), status);
    EXPECT_THAT(message_.text, HasSubstr(words));
    EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "left behind for the caller's next check";
  }
  static void* odd(const void* p) { return static_cast<std::byte*>(const_cast<void*>(p)) + 8; }

  std::optional<DeviceMemory> memory_;
  awq_cuda_linear linear_{};
  const char* version_ = "auto";
  awq_cuda_type type_ = AWQ_CUDA_F16;
  int64_t m_ = 1;
  void *x_ = nullptr, *y_ = nullptr, *workspace_ = nullptr;
  size_t workspace_bytes_ = size_t{1} << 19;
  awq_cuda_message message_{};
};

TEST_F(BadInput, TokensMustBePositive) {
  for (const int64_t m : {int64_t{0}, int64_t{-1}, int64_t{1} << 31}) {
    m_ = m;
    expect(AWQ_CUDA_BAD_SHAPE, "m must be 1 ..");
  }
}

TEST_F(BadInput, ShapesThatNoKernelTakes) {
  linear_.n = 12;
  expect(AWQ_CUDA_BAD_SHAPE, "n must be a positive multiple of 8, n = 12");
  linear_.n = 64;
  linear_.k = 132;
  expect(AWQ_CUDA_BAD_SHAPE, "k must be a positive multiple of 8, k = 132");
  linear_.k = 128;
  linear_.group_size = 16;
  expect(AWQ_CUDA_BAD_SHAPE, "group_size must divide k and be 32, 64, a multiple of 128, or k");
}

TEST_F(BadInput, EveryPointerIsLookedAt) {
  const auto bad = [](const void* p, bool null) { return null ? nullptr : odd(p); };
  const std::pair<const char*, std::function<void(const void*)>> fields[] = {
      {"qweight", [&](const void* p) { linear_.qweight = p; }},
      {"scales", [&](const void* p) { linear_.scales = p; }},
      {"zeros", [&](const void* p) { linear_.zeros = p; }},
      {"salient_index", [&](const void* p) { linear_.salient_index = static_cast<const int32_t*>(p); }},
      {"salient_delta", [&](const void* p) { linear_.salient_delta = p; }},
      {"x", [&](const void* p) { x_ = const_cast<void*>(p); }},
      {"y", [&](const void* p) { y_ = const_cast<void*>(p); }}};
  for (const auto& [name, set] : fields)
    for (const bool null : {true, false}) {
      set(bad(memory_->data(), null));
      expect(AWQ_CUDA_MISALIGNED, (std::string(name) + (null ? " is null" : " = 0x")).c_str());
      set(memory_->data());
    }
  linear_.bias = odd(memory_->data());
  expect(AWQ_CUDA_MISALIGNED, "bias = 0x");
}

TEST_F(BadInput, EnumsAndCounts) {
  type_ = static_cast<awq_cuda_type>(7);
  expect(AWQ_CUDA_BAD_ARGUMENT, "type must be");
  type_ = AWQ_CUDA_F16;
  linear_.salient_count = 129;
  expect(AWQ_CUDA_BAD_ARGUMENT, "salient_count must be 0 .. k = 128, not 129");
  linear_.salient_count = 0;
  version_ = nullptr;
  expect(AWQ_CUDA_BAD_ARGUMENT, "version is null");
  EXPECT_EQ(awq_cuda_forward("auto", nullptr, type_, 1, x_, y_, nullptr, 0, nullptr, &message_), AWQ_CUDA_BAD_ARGUMENT);
}

TEST_F(BadInput, UnknownVersionsAreListedAgainstTheKnown) {
  version_ = "marlin";
  expect(AWQ_CUDA_UNKNOWN_VERSION, "there is no kernel version 'marlin'");
  EXPECT_THAT(message_.text, HasSubstr("gemv_w4a16_portable"));
}

TEST_F(BadInput, GemvByNameSaysWhereItEnds) {
  for (const KernelTraits& row : kCudaRows) {
    if (row.m_max == kAnyM) continue;
    version_ = row.name.data();
    m_ = row.m_max + 1;
    EXPECT_NE(forward(), AWQ_CUDA_OK);
    const std::string limit = "needs m <= " + std::to_string(row.m_max) + ", m = " + std::to_string(row.m_max + 1);
    EXPECT_THAT(message_.text, ::testing::AnyOf(HasSubstr(limit), HasSubstr("not supported on this hardware")));
  }
}

TEST_F(BadInput, WorkspaceTooSmallSaysHowMuchIsNeeded) {
  for (const KernelTraits& row : kCudaRows) {
    size_t needed = 0;
    version_ = row.name.data();
    m_ = 16;
    if (awq_cuda_workspace_bytes(version_, &linear_, type_, m_, &needed, &message_) != AWQ_CUDA_OK || needed == 0)
      continue;
    workspace_bytes_ = needed - 1;
    expect(AWQ_CUDA_WORKSPACE_TOO_SMALL, (std::to_string(needed) + " are needed").c_str());
    workspace_bytes_ = needed;
    workspace_ = nullptr;
    expect(AWQ_CUDA_MISALIGNED, "workspace is null");
    workspace_ = memory_->data();
  }
}

TEST_F(BadInput, MessagesAreOptional) {
  m_ = 0;
  EXPECT_EQ(awq_cuda_forward("auto", &linear_, type_, m_, x_, y_, workspace_, workspace_bytes_, nullptr, nullptr),
            AWQ_CUDA_BAD_SHAPE);
}

TEST_F(BadInput, SourcesOfARepack) {
  const auto repack = [&](awq_cuda_source source) { return awq_cuda_repack(&source, &linear_, nullptr, &message_); };
  EXPECT_EQ(repack({static_cast<awq_cuda_layout>(9), x_, x_, x_}), AWQ_CUDA_BAD_ARGUMENT);
  EXPECT_EQ(repack({AWQ_CUDA_LAYOUT_GEMM, nullptr, x_, x_}), AWQ_CUDA_MISALIGNED);
  EXPECT_EQ(repack({AWQ_CUDA_LAYOUT_GEMM, x_, odd(x_), x_}), AWQ_CUDA_MISALIGNED);
  linear_.k = linear_.group_size = 72;
  EXPECT_EQ(repack({AWQ_CUDA_LAYOUT_GEMV, x_, x_, x_}), AWQ_CUDA_BAD_SHAPE);
  EXPECT_THAT(message_.text, HasSubstr("gemv needs k % 32 == 0, k = 72"));
  EXPECT_EQ(awq_cuda_repack(nullptr, &linear_, nullptr, &message_), AWQ_CUDA_BAD_ARGUMENT);
}

// Selection asks the capability alone: a T4 that is not here.
TEST(Selection, AVersionThatCannotRunSaysWhatCan) {
  LinearArgs args;
  args.layout = {.n = 64, .k = 128, .group = 128};
  args.m = 1;
  const Gpu turing{.capability = 75, .sms = 40, .smem_per_block = 64 << 10};
  try {
    chosen_row("gemm_w4a16_wgmma_sm90a", args, turing);
    FAIL() << "chosen";
  } catch (const Failure& f) {
    EXPECT_EQ(f.status(), AWQ_CUDA_NOT_SUPPORTED);
    EXPECT_THAT(f.what(), StartsWith("Kernel version not supported on this hardware: "));
  }
}

}  // namespace
}  // namespace awq::backend::cuda::testing
