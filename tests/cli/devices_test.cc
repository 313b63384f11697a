// The real program on machines with no driver, a stub, an old driver, hidden GPUs, and GPUs: the driver is one of
// tests/backend/cuda/fake_libcuda.cc, put before the machine's own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/process.h"

namespace awq::test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr const char* kDemo = AWQ_SOURCE_DIR "/models/demo";
constexpr const char* kGood = "AWQ_CUDA_PLUGIN=" FAKE_PLUGINS "/libfake_plugin_good.so";

struct Machine {
  const char* name;
  const char* driver;                    // folder of the fake
  std::vector<std::string> environment;  // what the driver answers
  const char* reason;                    // why no GPU can be used
};
void PrintTo(const Machine& machine, std::ostream* out) { *out << machine.name; }

RunOptions on(const std::string& driver, std::vector<std::string> environment) {
  environment.insert(environment.begin(), "CUDA_VISIBLE_DEVICES");  // without '=': unset, whatever this machine hides
  environment.push_back("LD_LIBRARY_PATH=" FAKE_DRIVERS "/" + driver);
  RunOptions options;
  options.environment = std::move(environment);
  return options;
}

RunOptions on(const Machine& machine) { return on(machine.driver, machine.environment); }

const Machine kMachines[] = {
    // A library without cuInit stands for no driver: this test may run where there is a real one.
    {"NoDriver", "other", {}, "libcuda.so.1 is not an NVIDIA driver"},
    {"StubDriver", "stub", {}, "is the CUDA toolkit's stub for linking, not a driver"},
    {"OldDriver",
     "good",
     {"FAKE_CUDA_DEVICES=NVIDIA H100:90", "FAKE_CUDA_VERSION=11040"},
     "the driver supports CUDA 11.4"},
    {"MismatchedDriver", "good", {"FAKE_CUDA_INIT=803"}, "of different releases"},
    {"FabricManagerDown", "good", {"FAKE_CUDA_INIT=802"}, "start nvidia-fabricmanager"},
    {"HiddenDevices",
     "good",
     {"FAKE_CUDA_DEVICES=NVIDIA H100:90", "CUDA_VISIBLE_DEVICES="},
     "hidden by CUDA_VISIBLE_DEVICES=''"},
    {"Kepler", "good", {"FAKE_CUDA_DEVICES=Tesla K40:35"}, "every kernel here needs 6.0 or higher"},
    {"NoPlugin",
     "good",
     {"FAKE_CUDA_DEVICES=NVIDIA H100:90", "AWQ_CUDA_PLUGIN=/no/such.so"},
     "AWQ_CUDA_PLUGIN names /no/such.so, which does not exist"},
    {"OtherPlugin",
     "good",
     {"FAKE_CUDA_DEVICES=NVIDIA H100:90", "AWQ_CUDA_PLUGIN=" FAKE_PLUGINS "/libfake_plugin_other_abi.so"},
     "has plugin interface 999, this program needs"},
};

class Unusable : public testing::TestWithParam<Machine> {};

TEST_P(Unusable, DevicesSaysWhyAndListsTheCpu) {
  const Result result = awq_run({"devices"}, on(GetParam()));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, StartsWith("cpu  "));
  EXPECT_THAT(result.out, HasSubstr("\ncuda"));
  EXPECT_THAT(result.out, HasSubstr(GetParam().reason));
}

TEST_P(Unusable, DevicesSaysSoInJson) {
  const json answer = json::parse(awq_run({"devices", "--json"}, on(GetParam())).out);
  ASSERT_EQ(answer["devices"].size(), 2u);
  EXPECT_THAT(answer["devices"][1]["unusable"].get<std::string>(), HasSubstr(GetParam().reason));
  EXPECT_FALSE(answer["devices"][1].contains("problems"));
}

TEST_P(Unusable, EnvSaysSo) { EXPECT_THAT(awq_run({"env"}, on(GetParam())).out, HasSubstr(GetParam().reason)); }

TEST_P(Unusable, TheAutomaticDeviceIsTheCpu) {
  const Result result = awq_run({"generate", kDemo, "-p", "The ", "-n", "2"}, on(GetParam()));
  EXPECT_EQ(result.code, 0) << result.err;
}

TEST_P(Unusable, AskedForItIsADeviceError) {
  const std::vector<std::string> commands[] = {{"generate", kDemo, "-p", "x", "--device", "cuda"},
                                               {"bench", kDemo, "--device", "cuda"},
                                               {"bench", "--kernels", "--device", "cuda"},
                                               {"bench", "--single-query"}};
  for (const std::vector<std::string>& words : commands) {
    const Result result = awq_run(words, on(GetParam()));
    EXPECT_EQ(result.code, 5) << words[0];
    EXPECT_THAT(result.err, AllOf(HasSubstr("error: "), HasSubstr(GetParam().reason)));
    EXPECT_EQ(result.out, "");
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, Unusable, testing::ValuesIn(kMachines),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Devices, WithoutAnyDriverThereIsOneLineAboutIt) {
  const Result result = awq_run({"devices"});
  if (result.out.find("cuda  none: ") == std::string::npos) GTEST_SKIP() << "this machine has an NVIDIA driver";
  const size_t at = result.out.find("\ncuda");
  EXPECT_EQ(result.out.find('\n', at + 1), result.out.size() - 1);
}

TEST(Devices, ListsEachGpuWithItsKernels) {
  const Result result =
      awq_run({"devices"},
              on("good", {kGood, "FAKE_CUDA_DEVICES=NVIDIA H200:90;NVIDIA A100-SXM4-40GB MIG 1g.5gb:80;Tesla K40:35"}));
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.out, HasSubstr("\ncuda:0  NVIDIA H200, Hopper, compute capability 9.0, 132 multiprocessors\n"));
  EXPECT_THAT(result.out, HasSubstr("4917 GB/s by clock and bus width, 62.9 MB L2, 227 KiB shared memory a block"));
  EXPECT_THAT(result.out, HasSubstr("\ncuda:1  NVIDIA A100-SXM4-40GB MIG 1g.5gb, Ampere, compute capability 8.0, 132 "
                                    "multiprocessors, a MIG slice\n"));
  EXPECT_THAT(result.out, HasSubstr("\n    not usable: it has compute capability 3.5 (Kepler)"));
  EXPECT_THAT(result.err, HasSubstr("CUDA_DEVICE_ORDER=PCI_BUS_ID"));
}

TEST(Devices, SaysThatGpusMayBeHidden) {
  const Result result =
      awq_run({"devices"}, on("good", {kGood, "FAKE_CUDA_DEVICES=NVIDIA H200:90", "CUDA_VISIBLE_DEVICES=3"}));
  EXPECT_THAT(result.err, HasSubstr("CUDA_VISIBLE_DEVICES='3' is set"));
}

TEST(Devices, ANumberThatIsNotThereIsRefused) {
  const RunOptions options = on("good", {kGood, "FAKE_CUDA_DEVICES=NVIDIA H200:90;NVIDIA H200:90"});
  for (const char* device : {"cuda:2", "cuda:-1", "cuda:x", "cuda:99999999999999", "cuda:0x1"}) {
    const Result result = awq_run({"generate", kDemo, "-p", "x", "--device", device}, options);
    EXPECT_EQ(result.code, 5);
    EXPECT_THAT(result.err, HasSubstr("' does not exist: choose cuda:0 to cuda:1"));
  }
}

// ---- --assume -------------------------------------------------------------------------------------------------------

json assumed(const std::string& list, std::vector<std::string> more = {}) {
  std::vector<std::string> words = {"devices", "--json", "--assume", list};
  words.insert(words.end(), more.begin(), more.end());
  return json::parse(awq_run(words).out)["devices"];
}

std::string chosen(const json& device, size_t problem) { return device["problems"][problem]["chosen"]; }

TEST(DevicesAssume, ShowsWhatOtherCardsWouldRun) {
  const json all = assumed("6.1,7.5,sm_86,9.0,13.0");
  ASSERT_EQ(all.size(), 5u);
  const char* one_query[] = {"gemv_w4a16_portable", "gemv_w4a16_mma_sm75", "gemv_w4a16_mma_sm80", "gemv_w4a16_mma_sm80",
                             "gemv_w4a16_mma_sm80"};
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_TRUE(all[i]["assumed"]);
    EXPECT_EQ(chosen(all[i], 0), one_query[i]);
  }
  EXPECT_EQ(all[2]["name"], "NVIDIA GeForce RTX 3090");
  EXPECT_EQ(all[4]["architecture"], "unknown architecture");
}

TEST(DevicesAssume, ShowsThatNothingRuns) {
  const json kepler = assumed("3.5")[0];
  EXPECT_EQ(chosen(kepler, 0), "");
  for (const json& row : kepler["problems"][0]["kernels"])
    EXPECT_THAT(row["why_not"].get<std::string>(), StartsWith("needs compute capability "));
}

TEST(DevicesAssume, TakesTheLinearToo) {
  const json turing = assumed("7.5", {"--bf16", "-m", "4", "--group-size", "-1"})[0];
  ASSERT_EQ(turing["problems"].size(), 1u);
  EXPECT_EQ(turing["problems"][0]["group_size"], 4096);
  EXPECT_THAT(chosen(turing, 0), Not(HasSubstr("sm75"))) << "Turing's tensor cores have no bfloat16";
}

TEST(DevicesAssume, DocsNameEveryKernel) {
  std::ostringstream docs;
  docs << std::ifstream(AWQ_SOURCE_DIR "/docs/cuda.md").rdbuf();
  const json hopper = assumed("9.0")[0];
  for (const json& row : hopper["problems"][0]["kernels"])
    EXPECT_THAT(docs.str(), HasSubstr("| `" + row["name"].get<std::string>() + "` |"));
}

TEST(DevicesAssume, RefusesWhatIsNoCapability) {
  const Result result = awq_run({"devices", "--assume", "8.6,ampere"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("'ampere' is not a compute capability: write 8.6 or sm_86"));
}

}  // namespace
}  // namespace awq::test
