// What runs between the linears of a model, and f16 linears, on the GPU against float64: each output within the
// rounding that its arithmetic owes, nothing else written.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "backend/cuda/cublaslt.h"
#include "backend/cuda/cuda_objects.h"
#include "backend/cuda/current_gpu.h"
#include "backend/cuda/gpu/device_case.h"
#include "backend/cuda/run/dense.h"
#include "backend/cuda/run/dense_stream.h"
#include "backend/cuda/run/host_linear.h"
#include "backend/cuda/run/pick_token.h"
#include "backend/cuda/run/row_kernels.h"
#include "core/half.h"

namespace awq::backend::cuda::testing {
namespace {

class RunKernels : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
    stream_ = make_stream();
    on_ = {stream_.get(), false, 64};
  }
  void finish(cudaError_t launched) {
    require(launched);
    require(cudaStreamSynchronize(stream_.get()));
  }
  std::vector<float> normal(size_t count, float deviation = 1) {
    std::normal_distribution<float> distribution(0, deviation);
    std::vector<float> out(count);
    for (float& v : out) v = distribution(random_);
    return out;
  }
  std::vector<uint16_t> halves(size_t count, float deviation = 1) {
    std::vector<uint16_t> out;
    for (const float v : normal(count, deviation)) out.push_back(f32_to_f16(v));
    return out;
  }
  std::mt19937 random_{7};
  Stream stream_;
  LaunchTarget on_;
};

template <class T>
DeviceMemory on_device(const std::vector<T>& host) {
  return DeviceMemory(std::span<const T>(host));
}
template <class T>
T* at(const DeviceMemory& memory) {
  return static_cast<T*>(memory.data());
}

TEST_F(RunKernels, EmbedCopiesTheRowsOfItsTokens) {
  constexpr int64_t kVocab = 50, kN = 264;
  const std::vector<uint16_t> table = halves(kVocab * kN);
  const std::vector<StepRow> rows = {{49, 0, 3}, {0, 1, 7}, {17, 2, 0}};
  const DeviceMemory device_table = on_device(table), from = on_device(rows);
  DeviceMemory to(rows.size() * sizeof(StepRow)), hidden(rows.size() * kN * 4);
  finish(launch_embed({at<StepRow>(from), at<StepRow>(to), at<__half>(device_table), at<float>(hidden), 3, kN}, on_));
  const auto got = hidden.download<float>();
  for (size_t r = 0; r < rows.size(); ++r)
    for (int64_t i = 0; i < kN; ++i)
      ASSERT_EQ(got[r * kN + i], f16_to_f32(table[rows[r].token * kN + i])) << r << " " << i;
  EXPECT_EQ(to.download<StepRow>()[1].position, 7);
  EXPECT_TRUE(hidden.guards_intact() && to.guards_intact());
}

TEST_F(RunKernels, AddNormAddsAndNorms) {
  for (const int64_t n : {int64_t{8}, int64_t{104}, int64_t{4096}, int64_t{5120}, int64_t{14336}}) {
    constexpr int64_t kM = 3;
    const std::vector<float> hidden = normal(kM * n, 3), weight = normal(n);
    const std::vector<uint16_t> y = halves(kM * n);
    const DeviceMemory h = on_device(hidden), w = on_device(weight), add = on_device(y);
    DeviceMemory out(kM * n * 2);
    finish(launch_add_norm({at<float>(h), at<__half>(add), at<float>(w), at<__half>(out), nullptr, kM, n, 1e-5f}, on_));
    const auto sums = h.download<float>();
    const auto got = out.download<uint16_t>();
    for (int64_t r = 0; r < kM; ++r) {
      double squares = 0;
      for (int64_t i = 0; i < n; ++i) {
        const float sum = hidden[r * n + i] + f16_to_f32(y[r * n + i]);
        ASSERT_EQ(sums[r * n + i], sum) << "n = " << n;
        squares += double{sum} * sum;
      }
      for (int64_t i = 0; i < n; ++i) {
        const double want = sums[r * n + i] / std::sqrt(squares / n + 1e-5) * weight[i];
        ASSERT_NEAR(f16_to_f32(got[r * n + i]), want, std::abs(want) * (0x1p-11 + 0x1p-18) + 0x1p-24) << "n = " << n;
      }
    }
    EXPECT_TRUE(out.guards_intact() && h.guards_intact());
  }
}

TEST_F(RunKernels, AddNormOfPickedRowsLeavesHiddenAlone) {
  constexpr int64_t kN = 256;
  const std::vector<float> hidden = normal(4 * kN), weight(kN, 1.f);
  const std::vector<uint16_t> y = halves(4 * kN);
  const std::vector<int32_t> picked = {3, 1};
  const DeviceMemory h = on_device(hidden), w = on_device(weight), add = on_device(y), rows = on_device(picked);
  DeviceMemory out(2 * kN * 2), whole(4 * kN * 2);
  finish(launch_add_norm(
      {at<float>(h), at<__half>(add), at<float>(w), at<__half>(out), at<int32_t>(rows), 2, kN, 1e-5f}, on_));
  EXPECT_EQ(h.download<float>(), hidden);
  finish(launch_add_norm({at<float>(h), at<__half>(add), at<float>(w), at<__half>(whole), nullptr, 4, kN, 1e-5f}, on_));
  const auto some = out.download<uint16_t>(), all = whole.download<uint16_t>();
  for (int64_t i = 0; i < kN; ++i) {
    EXPECT_EQ(some[i], all[3 * kN + i]);
    EXPECT_EQ(some[kN + i], all[kN + i]);
  }
}

TEST_F(RunKernels, SiluMulIsTheDefinitionAndStaysInRange) {
  constexpr int64_t kM = 5, kN = 1048;
  std::vector<uint16_t> gate_up = halves(kM * 2 * kN, 4);
  gate_up[0] = f32_to_f16(60000), gate_up[8] = f32_to_f16(60000);  // beyond f16: held
  gate_up[1] = f32_to_f16(-60000), gate_up[9] = f32_to_f16(1);     // e^60000 is infinite: 0
  const DeviceMemory in = on_device(gate_up);
  DeviceMemory out(kM * kN * 2);
  finish(launch_silu_mul(at<__half>(in), at<__half>(out), kM, kN, on_));
  const auto got = out.download<uint16_t>();
  for (int64_t r = 0; r < kM; ++r)
    for (int64_t i = 0; i < kN; ++i) {
      const auto part = [&](int64_t p) { return f16_to_f32(gate_up[r * 2 * kN + row_in_turn(p, i)]); };
      const double gate = part(0), up = part(1);
      const double want = std::clamp(gate / (1 + std::exp(-gate)) * up, -65504.0, 65504.0);
      ASSERT_NEAR(f16_to_f32(got[r * kN + i]), want, std::abs(want) * (0x1p-11 + 0x1p-17) + 0x1p-24) << r << " " << i;
    }
  EXPECT_TRUE(out.guards_intact());
}

TEST_F(RunKernels, PickTakesTheLowestOfTheLargest) {
  constexpr int64_t kVocab = 70001;
  const float nan = std::nanf("");
  std::vector<float> logits = normal(5 * kVocab);
  logits[60000] = logits[123] = logits[65000] = 50;  // the lowest of three
  for (int64_t i = 0; i < kVocab; ++i) logits[kVocab + i] = -1000 - float(i);
  logits[2 * kVocab + 5] = nan, logits[2 * kVocab + kVocab - 1] = 99;  // the last one, past a NaN
  for (int64_t i = 0; i < kVocab; ++i) logits[3 * kVocab + i] = nan;
  for (int64_t i = 0; i < kVocab; ++i) logits[4 * kVocab + i] = i == 7 ? 0.f : i == 4 ? -0.f : -1.f;  // equal zeros
  const DeviceMemory in = on_device(logits), tickets = on_device(std::vector<int32_t>(5));
  DeviceMemory ids(5 * 4), best(5 * kPickBlocks * 8);
  for (int run = 0; run < 2; ++run) {
    finish(launch_pick({at<float>(in), at<int32_t>(ids), at<uint64_t>(best), at<int32_t>(tickets), 5, kVocab}, on_));
    EXPECT_EQ(ids.download<int32_t>(), (std::vector<int32_t>{123, 0, kVocab - 1, -1, 4}));
  }
  EXPECT_TRUE(ids.guards_intact() && best.guards_intact());
}

struct DenseShape {
  int64_t m, n, k;
  bool bias, wide;
};

class Dense : public RunKernels {
 protected:
  // What dense_stream takes on chips that have it.
  LaunchTarget with_clusters() const {
    const Gpu gpu = current_gpu();
    return {stream_.get(), false, gpu.sms, gpu.capability >= 90, gpu.smem_per_block};
  }
  void expect_definition(const DenseShape& s) {
    SCOPED_TRACE(std::to_string(s.m) + " x " + std::to_string(s.n) + " x " + std::to_string(s.k));
    DeviceMemory workspace(kCublasLtWorkspace);
    const std::vector<uint16_t> x = halves(s.m * s.k), w = halves(s.n * s.k), bias = halves(s.n);
    const DeviceMemory dx = on_device(x), dw = on_device(w), db = on_device(bias);
    DeviceMemory y(s.m * s.n * (s.wide ? 4 : 2));
    const DeviceMemory ticket = on_device(std::vector<int32_t>(1));
    finish(multiply_dense({s.m, s.n, s.k, at<__half>(dx), at<__half>(dw), s.bias ? at<__half>(db) : nullptr, y.data(),
                           s.wide, at<int32_t>(ticket)},
                          workspace.data(), on_));
    const auto wide = s.wide ? y.download<float>() : std::vector<float>{};
    const auto narrow = s.wide ? std::vector<uint16_t>{} : y.download<uint16_t>();
    for (int64_t r = 0; r < s.m; ++r)
      for (int64_t c = 0; c < s.n; ++c) {
        const double added = s.bias ? std::abs(f16_to_f32(bias[c])) : 0;
        double want = s.bias ? f16_to_f32(bias[c]) : 0, terms = added;
        for (int64_t i = 0; i < s.k; ++i) {
          const double term = double{f16_to_f32(x[r * s.k + i])} * f16_to_f32(w[c * s.k + i]);
          want += term, terms += std::abs(term);
        }
        const double got = s.wide ? wide[r * s.n + c] : f16_to_f32(narrow[r * s.n + c]);
        // float32 sums of k terms in tensor cores, whose adders keep fewer bits: 2^-22 each time; rounded once or,
        // where a bias is added afterwards, twice.
        const double steps = double(s.k) / 8 + 8;
        ASSERT_NEAR(got, want, steps * 0x1p-22 * terms + (s.wide ? 0 : 0x1p-11 * (2 * std::abs(want) + added)))
            << r << " " << c;
      }
    EXPECT_TRUE(y.guards_intact());
    EXPECT_EQ(ticket.download<int32_t>(), std::vector<int32_t>(1));
  }
};

constexpr DenseShape kDenseShapes[] = {
    {1, 16, 32, false, true},      {1, 1000, 4096, false, true}, {3, 40, 104, true, false},
    {8, 33, 8, true, false},       {9, 64, 256, false, false},   {16, 513, 1032, false, true},
    {16, 24, 14336, true, false},  {17, 64, 256, true, false},   {40, 100, 264, false, true},
    {1, 4400, 64, false, true},    {5, 3001, 576, true, false},  {8, 17, 4096, false, true},
    {16, 4300, 1088, false, true}, {16, 40, 4096, false, true},  {13, 2200, 512, true, false}};

TEST_F(Dense, IsTheDefinition) {
  for (const DenseShape& s : kDenseShapes) expect_definition(s);
}

TEST_F(Dense, StreamedNormsItsRow) {
  on_ = with_clusters();
  if (!on_.clusters) GTEST_SKIP() << "no bulk copies before 9.0";
  constexpr int64_t kN = 72, kK = 1088;
  const DeviceMemory hidden = on_device(normal(kK)), weight = on_device(normal(kK)), w = on_device(halves(kN * kK));
  const DeviceMemory normed(kK * 2), expected(kN * 4), got(kN * 4);
  finish(
      launch_add_norm({at<float>(hidden), nullptr, at<float>(weight), at<__half>(normed), nullptr, 1, kK, 1e-5f}, on_));
  DenseArgs args{1, kN, kK, at<__half>(normed), at<__half>(w), nullptr, expected.data(), true};
  finish(multiply_dense(args, nullptr, on_));
  args.x = nullptr, args.y = got.data();
  args.unnormed = {at<float>(hidden), at<float>(weight), 1e-5f};
  finish(multiply_dense(args, nullptr, on_));
  // Both add up the squares in their own order: now and then a number of x rounds to the other neighbor.
  const std::vector<float> a = expected.download<float>(), b = got.download<float>();
  for (int64_t i = 0; i < kN; ++i) EXPECT_NEAR(a[i], b[i], 0x1p-11 * 16) << i;
}

TEST_F(Dense, StreamedLeavesItsLargest) {
  on_ = with_clusters();
  if (!on_.clusters) GTEST_SKIP() << "no bulk copies before 9.0";
  constexpr int64_t kM = 13, kN = 3001, kK = 128;
  const DeviceMemory x = on_device(halves(kM * kK)), w = on_device(halves(kN * kK)), y(kM * kN * 4), ids(kM * 4);
  DeviceMemory best(kM * kPickBlocks * 8);
  best.poison();
  DenseArgs args{kM, kN, kK, at<__half>(x), at<__half>(w), nullptr, y.data(), true};
  args.best = at<uint64_t>(best);
  finish(multiply_dense(args, nullptr, on_));
  finish(launch_pick({at<float>(y), at<int32_t>(ids), at<uint64_t>(best), nullptr, kM, kN, true}, on_));
  const std::vector<float> logits = y.download<float>();
  std::vector<int32_t> largest;
  for (int64_t r = 0; r < kM; ++r) {
    const auto row = logits.begin() + r * kN;
    largest.push_back(static_cast<int32_t>(std::max_element(row, row + kN) - row));
  }
  EXPECT_EQ(ids.download<int32_t>(), largest);
  EXPECT_TRUE(best.guards_intact());
}

TEST_F(Dense, StreamedIsTheDefinition) {
  on_ = with_clusters();
  if (!on_.clusters) GTEST_SKIP() << "no bulk copies before 9.0";
  int streamed = 0;
  for (const DenseShape& s : kDenseShapes) {
    streamed += takes_stream({.m = s.m, .n = s.n, .k = s.k}, on_);
    expect_definition(s);
  }
  EXPECT_GE(streamed, 7);
  // Fewer blocks, so that each has many tiles and its ring goes round.
  on_.sms = 3;
  expect_definition({2, 1000, 1088, false, true});
  on_.smem_per_block = 70 << 10;  // a ring of three stages
  expect_definition({2, 1000, 1088, false, true});
}

TEST_F(Dense, CapturedLaunchesMayStartEarly) {
  on_ = with_clusters();
  on_.overlap = true;
  if (!on_.clusters) GTEST_SKIP() << "no programmatic launches before 9.0";
  constexpr int64_t kN = 256, kVocab = 640;
  const DeviceMemory hidden = on_device(normal(kN)), norm = on_device(normal(kN)), w = on_device(halves(kVocab * kN));
  const DeviceMemory gate_up = on_device(halves(2 * kN)), tickets = on_device(std::vector<int32_t>(1));
  const DeviceMemory normed(kN * 2), logits(kVocab * 4), active(kN * 2), id(4), best(kPickBlocks * 8);
  const int overlapping = captured_overlaps(stream_.get(), [&] {
    require(launch_silu_mul(at<__half>(gate_up), at<__half>(active), 1, kN, on_));
    require(launch_add_norm(
        {at<float>(hidden), at<__half>(active), at<float>(norm), at<__half>(normed), nullptr, 1, kN, 1e-5f}, on_));
    require(
        multiply_dense({1, kVocab, kN, at<__half>(normed), at<__half>(w), nullptr, logits.data(), true}, nullptr, on_));
    require(
        launch_pick({at<float>(logits), at<int32_t>(id), at<uint64_t>(best), at<int32_t>(tickets), 1, kVocab}, on_));
  });
  EXPECT_EQ(overlapping, 3);
}

}  // namespace
}  // namespace awq::backend::cuda::testing
