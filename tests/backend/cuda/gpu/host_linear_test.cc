// Linears on their way to the device: parts put together there from the bytes of a file are what parts taken apart and
// put together on the host are.
#include "backend/cuda/run/host_linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "backend/cuda/current_gpu.h"
#include "backend/cuda/gpu/device_case.h"
#include "backend/cuda/run/run_linear.h"
#include "backend/cuda/weights_launch.h"
#include "format/layouts.h"
#include "format/packing.h"

namespace awq::backend::cuda::testing {
namespace {

constexpr int64_t kK = 192;
constexpr int kGroup = 64;  // gemv pads three groups to sixteen

format::QuantizedLinear random_part(int64_t n, unsigned seed, bool bias) {
  std::mt19937 random(seed);
  format::QuantizedLinear w;
  w.n = n, w.k = kK, w.group = kGroup;
  for (int64_t i = 0; i < n * kK; ++i) w.q.push_back(random() % 16);
  for (int64_t i = 0; i < n * w.groups(); ++i) {
    w.zeros.push_back(random() % 16);
    w.scales.push_back(static_cast<f16_t>(1 + random() % 0x5fff));
  }
  for (int64_t i = 0; bias && i < n; ++i) w.bias.push_back(static_cast<f16_t>(random() % 0x5fff));
  return w;
}

// Linears in memory; `stored` tells them as files of a layout do, but for those named in `damaged`.
struct Parts final : WeightSource {
  const format::LayoutRow* row = nullptr;
  std::map<std::string, format::QuantizedLinear> linears;
  std::string damaged;

  bool is_packed(const std::string&) const override { return true; }
  bool has(const std::string&) const override { return false; }
  format::QuantizedLinear packed(const std::string& module, int64_t, int64_t) const override {
    return linears.at(module);
  }
  std::optional<format::StoredLinear> stored(const std::string& module, int64_t n, int64_t k) const override {
    if (row == nullptr || module == damaged) return std::nullopt;
    const format::QuantizedLinear& w = linears.at(module);
    std::vector<format::EncodedTensor> tensors = row->encode(w);
    tensors.resize(row->plan(n, k, w.group).size());  // without the bias
    auto out = row->stored(
        std::move(tensors), [](std::string_view) { return nullptr; }, n, k, w.group);
    out.value().bias = w.bias;
    return out;
  }
  format::SalientColumns salient(const std::string&, int64_t, int64_t) const override { return {}; }
  void read_f16(const std::string&, int64_t, int64_t, std::span<f16_t>) const override {}
  std::vector<float> read_f32(const std::string&) const override { return {}; }
};

std::vector<std::byte> downloaded(const void* from, size_t bytes) {
  std::vector<std::byte> out(bytes);
  require(cudaMemcpy(out.data(), from, bytes, cudaMemcpyDeviceToHost));
  return out;
}

// Weights, scales, zero points and bias on the device.
std::vector<std::vector<std::byte>> on_device(const HostLinear& host) {
  UploadSpace space;
  const RunLinear linear(host, "auto", current_gpu(), space, nullptr);
  const PackedView view = linear.packed().value();
  const auto bias = static_cast<size_t>(view.bias == nullptr ? 0 : host.n * int64_t{sizeof(f16_t)});
  return {downloaded(view.qweight, view.layout.qweight_bytes()), downloaded(view.scales, view.layout.scales_bytes()),
          downloaded(view.zeros, view.layout.zeros_bytes()), downloaded(view.bias, bias)};
}

struct Joint {
  std::vector<int64_t> rows;
  bool in_turn;
};
const Joint kJoints[] = {
    {{72}, false}, {{64, 64, 64}, false}, {{136, 8, 24}, false}, {{72, 8}, false}, {{88, 88}, true}};

class StoredParts : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
  }
  HostLinear read(const Joint& joint) {
    std::vector<LinearPart> shapes;
    source_.linears.clear();
    for (size_t p = 0; p < joint.rows.size(); ++p) {
      shapes.push_back({std::string(1, static_cast<char>('a' + p)), joint.rows[p], true});
      source_.linears[shapes.back().module] = random_part(joint.rows[p], static_cast<unsigned>(p), p != 1);
    }
    return read_linear(source_, shapes, kK, joint.in_turn, true);
  }
  Parts source_;
};

TEST_F(StoredParts, BecomeWhatDecodedPartsBecome) {
  for (const Joint& joint : kJoints) {
    SCOPED_TRACE(::testing::PrintToString(joint.rows));
    source_.row = nullptr;
    const HostLinear decoded = read(joint);
    ASSERT_TRUE(decoded.stored.empty());
    const auto want = on_device(decoded);
    for (const format::LayoutRow* row : {&format::kGemmRow, &format::kGemvRow, &format::kCompressedTensorsRow}) {
      SCOPED_TRACE(std::string(row->name));
      source_.row = row;
      const HostLinear stored = read(joint);
      EXPECT_EQ(stored.stored.size(), joint.rows.size());
      EXPECT_TRUE(stored.packed.q.empty());
      EXPECT_TRUE(on_device(stored) == want);
    }
  }
}

TEST_F(StoredParts, AreDecodedWhereOneOfThemMustBe) {
  const Joint joint{{64, 16, 16}, false};
  const auto want = on_device(read(joint));
  source_.row = &format::kGemmRow;
  source_.damaged = "b";
  const HostLinear mixed = read(joint);
  EXPECT_TRUE(mixed.stored.empty());
  EXPECT_TRUE(on_device(mixed) == want);
}

TEST_F(StoredParts, AreSeenToDiffer) {  // the comparison can fail
  const Joint joint{{64, 16, 16}, false};
  source_.row = &format::kGemmRow;
  HostLinear stored = read(joint);
  const auto want = on_device(stored);
  stored.stored[2].codes.back() ^= std::byte{1};
  EXPECT_FALSE(on_device(stored) == want);
}

}  // namespace
}  // namespace awq::backend::cuda::testing
