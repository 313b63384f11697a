// Tokens drawn on the GPU against run::Sampler on the same logits: the same token, for every parameter and draw.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "backend/cuda/cuda_objects.h"
#include "backend/cuda/gpu/device_case.h"
#include "backend/cuda/run/draw_token.h"
#include "backend/cuda/run/pick_token.h"
#include "run/sampler.h"

namespace awq::backend::cuda::testing {
namespace {

using run::Sampler;

constexpr float kInf = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();

// Every way of drawing; a launch draws a row each, so that they are mixed.
const SamplingOptions kOptions[] = {
    {.temperature = 0},
    {.temperature = 1},
    {.temperature = 0.7f, .seed = 1},
    {.temperature = 100, .seed = 2},
    {.temperature = 1e-30f, .seed = 3},
    {.temperature = 1, .top_k = 1, .seed = 4},
    {.temperature = 1, .top_k = 50, .seed = 5},
    {.temperature = 100, .top_k = 7, .seed = 6},
    {.temperature = 3, .top_k = 5000, .seed = 7},
    {.temperature = 1, .top_k = 1 << 30, .seed = 8},
    {.temperature = 1, .top_p = 0, .seed = 9},
    {.temperature = 1, .top_p = 0.9f, .seed = 10},
    {.temperature = 100, .top_p = 0.5f, .seed = 11},
    {.temperature = 5, .top_p = 0.999999f, .seed = 12},
    {.temperature = 1e-30f, .top_k = 5, .top_p = 0.5f, .seed = 13},
    {.temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .seed = 14},
    {.temperature = 100, .top_k = 6000, .top_p = 0.9f, .seed = 15},
};
constexpr int64_t kRows = std::size(kOptions);

struct Shape {
  const char* name;
  std::function<float(int64_t id, float normal)> logit;  // normal: mean 0, deviation 1
};
const Shape kShapes[] = {
    {"normal", [](int64_t, float x) { return 3 * x; }},
    {"one stands out", [](int64_t id, float x) { return id % 37 == 5 ? 20 + x : x; }},
    {"all equal", [](int64_t, float) { return -2.5f; }},
    {"ties", [](int64_t, float x) { return std::floor(x); }},
    {"zeros of both signs", [](int64_t id, float x) { return x > 1         ? -1.f
                                                             : id % 3 == 0 ? -0.f
                                                                           : 0.f; }},
    {"NaN and infinities", [](int64_t id, float x) { return id % 5 == 1   ? kNaN
                                                            : id % 7 == 1 ? -kInf
                                                                          : x; }},
    {"several infinite", [](int64_t id, float x) { return id % 100 < 2 ? kInf : x; }},
    {"none finite", [](int64_t id, float) { return id % 2 == 0 ? -kInf : kNaN; }},
    {"no number", [](int64_t, float) { return kNaN; }},
    {"huge and tiny", [](int64_t id, float x) { return id % 2 == 0 ? x * 3e37f : x * 1e-40f; }},
};

std::vector<float> logits_of(const Shape& shape, int64_t rows, int64_t vocab) {
  std::mt19937 random(static_cast<unsigned>(vocab));
  std::normal_distribution<float> normal;
  std::vector<float> logits;
  for (int64_t i = 0; i < rows * vocab; ++i) logits.push_back(shape.logit(i % vocab, normal(random)));
  return logits;
}

// The rows of logits on the device, and what is needed to draw from them.
class DrawnRows {
 public:
  DrawnRows(const std::vector<float>& logits, int64_t rows)
      : m_(rows),
        vocab_(std::ssize(logits) / rows),
        logits_(std::span<const float>(logits)),
        tickets_(std::span<const int32_t>(std::vector<int32_t>(rows))),
        state_(std::span<const DrawRow>(std::vector<DrawRow>(rows))),
        best_(rows * kPickBlocks * 8),
        draws_(rows * sizeof(DrawNumbers)),
        ids_(rows * 4) {}

  void launch(const LaunchTarget& on) const {
    auto* const ids = static_cast<int32_t*>(ids_.data());
    auto* const best = static_cast<uint64_t*>(best_.data());
    const auto* const logits = static_cast<const float*>(logits_.data());
    require(launch_pick({logits, ids, best, static_cast<int32_t*>(tickets_.data()), m_, vocab_}, on));
    require(launch_draw({logits, best, static_cast<const DrawNumbers*>(draws_.data()), ids,
                         static_cast<DrawRow*>(state_.data()), m_, vocab_},
                        on));
  }
  void describe(std::span<const DrawNumbers> draws) { draws_.upload(draws); }
  std::vector<int32_t> ids() const { return ids_.download<int32_t>(); }
  std::vector<int32_t> draw(std::span<const DrawNumbers> draws, const LaunchTarget& on) {
    describe(draws);
    ids_.poison();
    launch(on);
    require(cudaStreamSynchronize(on.stream));
    EXPECT_TRUE(ids_.guards_intact() && state_.guards_intact() && best_.guards_intact());
    return ids();
  }
  bool ready_again() const {
    const auto rows = state_.download<DrawRow>();
    return std::all_of(rows.begin(), rows.end(), [](const DrawRow& row) {
      return row.listed == 0 && row.weighed_ticket == 0 && row.listed_ticket == 0 &&
             std::ranges::count(row.bin_counts, 0) == kWeightBins &&
             std::ranges::count(row.bin_weights, 0u) == kWeightBins;
    });
  }

 private:
  int64_t m_, vocab_;
  DeviceMemory logits_, tickets_, state_, best_, draws_, ids_;
};

// A sampler for every row: what it would tell the device, and what it draws itself.
class Samplers {
 public:
  Samplers(std::span<const SamplingOptions> options, int64_t vocab) : vocab_(vocab) {
    for (const SamplingOptions& o : options) samplers_.emplace_back(o, vocab);
  }
  std::vector<DrawNumbers> next() const {
    std::vector<DrawNumbers> draws;
    for (const Sampler& sampler : samplers_) {
      const TokenDraw d = sampler.next_draw();
      draws.push_back(draw_numbers(d.temperature, d.top_k, d.top_p, d.uniform, vocab_));
    }
    return draws;
  }
  std::vector<int32_t> draw(std::span<const float> logits) {
    std::vector<int32_t> ids;
    for (Sampler& sampler : samplers_) {
      const auto row = logits.subspan(ids.size() * static_cast<size_t>(vocab_), static_cast<size_t>(vocab_));
      ids.push_back(run::most_likely(row) < 0 ? -1 : sampler(row));
    }
    return ids;
  }

 private:
  int64_t vocab_;
  std::vector<Sampler> samplers_;
};

class DrawToken : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
    stream_ = make_stream();
    on_ = {stream_.get(), false, 64};
  }
  void expect_the_samplers(const Shape& shape, int64_t vocab, int draws) {
    SCOPED_TRACE(shape.name + (" of " + std::to_string(vocab)));
    const std::vector<float> logits = logits_of(shape, kRows, vocab);
    Samplers host(kOptions, vocab);
    DrawnRows device(logits, kRows);
    for (int i = 0; i < draws; ++i) {
      const std::vector<DrawNumbers> numbers = host.next();
      const std::vector<int32_t> want = host.draw(logits);
      ASSERT_EQ(device.draw(numbers, on_), want) << "draw " << i;
      ASSERT_TRUE(device.ready_again());
    }
  }
  Stream stream_;
  LaunchTarget on_;
};

TEST_F(DrawToken, IsTheSamplers) {
  for (const Shape& shape : kShapes)
    for (const int64_t vocab : {1, 33, 6500}) expect_the_samplers(shape, vocab, 1);
}

TEST_F(DrawToken, IsTheSamplersWhereTheListIsFull) {
  for (const int64_t vocab : {kListed, kListed + 1}) expect_the_samplers(kShapes[2], vocab, 1);
}

// Equal weights, so that each point falls on the border between two tokens: the one behind it is drawn.
TEST_F(DrawToken, ABorderBelongsToTheTokenBehindIt) {
  struct Kept {
    int top_k;
    float top_p;
    int64_t tokens_in_8;
  };
  for (const int64_t vocab : {8, 8188})
    for (const Kept& kept : {Kept{0, 1, 8}, Kept{static_cast<int>(vocab / 2), 1, 4}, Kept{0, 0.5f, 4}}) {
      DrawnRows device(std::vector<float>(5 * vocab, 1.5f), 5);
      std::vector<DrawNumbers> numbers;
      std::vector<int32_t> want;
      for (const double u : {0.0, 0.25, 0.5, 0.75, 1 - 0x1p-53}) {
        numbers.push_back(draw_numbers(1, kept.top_k, kept.top_p, u, vocab));
        want.push_back(static_cast<int32_t>(std::floor(u * static_cast<double>(kept.tokens_in_8 * vocab / 8))));
      }
      EXPECT_EQ(device.draw(numbers, on_), want)
          << vocab << " tokens, top_k " << kept.top_k << ", top_p " << kept.top_p;
    }
}

TEST_F(DrawToken, ManyDrawsAreTheSamplers) {
  for (const Shape& shape : kShapes) expect_the_samplers(shape, 50257, 10);
  for (const int64_t vocab : {4097, 32000, 128256}) expect_the_samplers(kShapes[0], vocab, 50);
}

TEST_F(DrawToken, IsTheSameEveryTime) {
  constexpr int64_t kVocab = 5000;
  const std::vector<float> logits = logits_of(kShapes[0], kRows, kVocab);
  const std::vector<DrawNumbers> numbers = Samplers(kOptions, kVocab).next();
  DrawnRows device(logits, kRows);
  const std::vector<int32_t> first = device.draw(numbers, on_);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(device.draw(numbers, on_), first);
    ASSERT_TRUE(device.ready_again());
  }
}

TEST_F(DrawToken, IsTheSamplersForEveryNumberOfRows) {
  constexpr int64_t kVocab = 701;
  for (const int64_t rows : {1, 2, 64}) {
    std::vector<SamplingOptions> options;
    for (int64_t r = 0; r < rows; ++r) options.push_back(kOptions[(r * 5 + 6) % kRows]);
    const std::vector<float> logits = logits_of(kShapes[0], rows, kVocab);
    Samplers host(options, kVocab);
    DrawnRows device(logits, rows);
    const std::vector<DrawNumbers> numbers = host.next();
    ASSERT_EQ(device.draw(numbers, on_), host.draw(logits)) << rows << " rows";
  }
}

TEST_F(DrawToken, OneGraphServesOtherParameters) {
  constexpr int64_t kVocab = 400;
  const std::vector<float> logits = logits_of(kShapes[0], kRows, kVocab);
  DrawnRows device(logits, kRows);
  std::vector<SamplingOptions> options(std::begin(kOptions), std::end(kOptions));
  Samplers host(options, kVocab);
  device.draw(host.next(), on_);  // loads the kernels
  require(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal));
  device.launch(on_);
  cudaGraph_t recorded = nullptr;
  require(cudaStreamEndCapture(stream_.get(), &recorded));
  const Graph graph(recorded);
  cudaGraphExec_t made = nullptr;
  require(cudaGraphInstantiate(&made, graph.get(), 0));
  const GraphExec exec(made);
  for (int i = 0; i < 6; ++i) {
    device.describe(host.next());
    require(cudaGraphLaunch(exec.get(), stream_.get()));
    require(cudaStreamSynchronize(stream_.get()));
    ASSERT_EQ(device.ids(), host.draw(logits)) << i;
    std::rotate(options.begin(), options.begin() + 1, options.end());
    host = Samplers(options, kVocab);
  }
}

// Tests the tests above: what they compare does depend on each parameter and on the logits.
TEST_F(DrawToken, EveryParameterMatters) {
  constexpr int64_t kVocab = 300;
  const std::vector<float> logits = logits_of(kShapes[0], kRows, kVocab);
  const auto all = [&](std::vector<float> with, const std::function<void(DrawNumbers&)>& change) {
    Samplers host(kOptions, kVocab);
    DrawnRows device(with, kRows);
    std::vector<int32_t> ids;
    for (int i = 0; i < 2; ++i) {
      std::vector<DrawNumbers> numbers = host.next();
      for (DrawNumbers& n : numbers) change(n);
      for (const int32_t id : device.draw(numbers, on_)) ids.push_back(id);
      host.draw(logits);
    }
    return ids;
  };
  const std::vector<int32_t> as_they_are = all(logits, [](DrawNumbers&) {});
  EXPECT_NE(all(logits, [](DrawNumbers& n) { n.uniform += uint64_t{1} << 58; }), as_they_are);
  EXPECT_NE(all(logits, [](DrawNumbers& n) { n.scale *= 1.05, n.unscale /= 1.05; }), as_they_are);
  EXPECT_NE(all(logits, [](DrawNumbers& n) { n.top_k += n.top_k > 1; }), as_they_are);
  EXPECT_NE(all(logits, [](DrawNumbers& n) { n.top_p -= n.top_p == DrawNumbers::kAll ? 0 : n.top_p / 8; }),
            as_they_are);
  std::vector<float> others = logits;
  for (float& logit : others) logit *= 1.01f;
  EXPECT_NE(all(others, [](DrawNumbers&) {}), as_they_are);
}

}  // namespace
}  // namespace awq::backend::cuda::testing
