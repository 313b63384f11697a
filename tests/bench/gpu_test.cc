#include "bench/gpu.h"

#include <gmock/gmock.h>

#include "awq/error.h"
#include "fake_report.h"

namespace awq::bench {
namespace {

using testing::HasSubstr;

std::vector<DeviceInfo> machine(std::vector<DeviceInfo> gpus) {
  gpus.insert(gpus.begin(), DeviceInfo{});
  for (size_t i = 1; i < gpus.size(); ++i)
    if (gpus[i].index == 0) gpus[i].index = static_cast<int>(i) - 1;
  return gpus;
}

std::string refusal(const std::vector<DeviceInfo>& all, std::string_view name) {
  try {
    find_gpu(all, name);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kDevice);
    return error.what();
  }
  return "no error";
}

TEST(FindGpu, TakesTheOneNamed) {
  DeviceInfo old = fake_gpu();
  old.unusable = "needs a newer driver";
  const auto all = machine({old, fake_gpu()});
  EXPECT_EQ(find_gpu(all, "auto").index, 1);
  EXPECT_EQ(find_gpu(all, "cuda:1").index, 1);
  EXPECT_THAT(refusal(all, "cuda"), HasSubstr("cuda:0 (Fake <H200> & Co) is not usable: needs a newer driver"));
  EXPECT_THAT(refusal(all, "cuda:2"), HasSubstr("there is no device 'cuda:2'"));
  EXPECT_THAT(refusal(all, "cuda:x"), HasSubstr("there is no device 'cuda:x'"));
  EXPECT_TRUE(has_usable_gpu(all));
}

TEST(FindGpu, SaysWhyThereIsNone) {
  DeviceInfo none;
  none.kind = DeviceKind::kCuda;
  none.index = -1;
  none.unusable = "no NVIDIA driver found";
  for (const char* name : {"auto", "cuda", "cuda:0"})
    EXPECT_EQ(refusal(machine({none}), name), "no CUDA device: no NVIDIA driver found");
  EXPECT_FALSE(has_usable_gpu(machine({none})));
  EXPECT_THAT(refusal({DeviceInfo{}}, "cuda"), HasSubstr("awq devices lists none"));
}

}  // namespace
}  // namespace awq::bench
