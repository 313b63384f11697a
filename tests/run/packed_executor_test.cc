// Executor over packed 4-bit linears against the same executor over the float32 weights that the codes stand for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "golden.h"
#include "packed_model.h"

namespace awq::test {
namespace {

double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    size += double{b[i]} * b[i];
  }
  return std::sqrt(difference / size);
}

std::vector<int32_t> some_tokens(int count) {
  std::vector<int32_t> ids;
  for (int i = 0; i < count; ++i) ids.push_back((i * 2654435761u) >> 20);
  return ids;
}

// The kernels round activations to 2^-12.3 of a block's rms at worst (activations.h). Each of the 4 inputs of a block
// is rounded independently, so 24 of them in 6 blocks add in squares: 2^-12.3 sqrt(24) = 2^-10; twice that for what the
// softmax and the gate amplify.
constexpr double kActivationBound = 0x1p-9;

QuantConfig with_group(int group, Layout layout = Layout::kGemm, bool zero_point = true) {
  QuantConfig quant;
  quant.group_size = group, quant.version = layout, quant.zero_point = zero_point;
  return quant;
}

struct Case {
  const char* name;
  QuantConfig quant;
  int salient;
};

class PackedExecutor : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Kinds, PackedExecutor,
                         testing::Values(Case{"gemm", with_group(64), 0},
                                         Case{"gemv", with_group(64, Layout::kGemv), 0},
                                         Case{"gemv_fast", with_group(64, Layout::kGemvFast), 0},
                                         Case{"symmetric", with_group(32, Layout::kGemm, false), 0},
                                         Case{"compressed_tensors", with_group(64, Layout::kCompressedTensors), 0},
                                         Case{"w4a16", with_group(64, Layout::kCompressedTensorsSym, false), 3},
                                         Case{"salient", with_group(64), 3}),
                         [](const auto& each) { return each.param.name; });

TEST_P(PackedExecutor, EqualsTheWeightsItsCodesStandFor) {
  const PackedDemo demo(GetParam().quant, GetParam().salient);
  const Loaded packed(demo.packed.path()), floats(demo.floats.path()), original(demo_folder());
  const std::vector<int32_t> ids = some_tokens(40);
  const std::vector<float> want = floats.forward(0, ids), rounded = original.forward(0, ids);
  EXPECT_LE(relative_distance(packed.forward(0, ids), want), kActivationBound);
  EXPECT_GT(relative_distance(rounded, want), 8 * kActivationBound)
      << "the bound would not notice 4-bit rounding itself";
  std::vector<float> last;
  for (const int32_t id : ids) last = packed.forward(1, {&id, 1});  // the kernels of m = 1
  EXPECT_LE(relative_distance(last, {want.end() - packed.config.vocab, want.end()}), kActivationBound);
}

TEST(PackedExecutor, LeavesTheCorrectionOutWhenAsked) {
  const PackedDemo with(with_group(64), 3), without(with_group(64), 0);
  const Loaded ignored(with.packed.path(), {.ignore_salient = true}), applied(with.packed.path()),
      plain(without.packed.path());
  const std::vector<int32_t> ids = some_tokens(9);
  EXPECT_EQ(ignored.forward(0, ids), plain.forward(0, ids));
  EXPECT_NE(applied.forward(0, ids), plain.forward(0, ids));
  EXPECT_GT(applied.executor->weight_bytes(), plain.executor->weight_bytes());
}

TEST(PackedExecutor, ReadsFourBitsAWeight) {
  const PackedDemo demo(with_group(128));
  const Loaded packed(demo.packed.path()), original(demo_folder());
  const model::ModelConfig& c = packed.config;
  const auto head = static_cast<double>(4 * c.vocab * c.hidden);  // stored as float32 by the test
  const double linears =
      static_cast<double>(original.executor->weight_bytes()) - 2.0 * static_cast<double>(c.vocab * c.hidden);
  EXPECT_LT(static_cast<double>(packed.executor->weight_bytes()) - head, 0.30 * linears);  // 4.2 of 16 bits
  EXPECT_THAT(packed.executor->kernels(), testing::HasSubstr("gemv_w4a16"));
}

}  // namespace
}  // namespace awq::test
