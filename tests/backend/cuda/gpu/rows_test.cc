// Every row of the CUDA kernel table that this GPU runs (skipped, with the reason, otherwise), over ragged shapes:
// exact arithmetic with tolerance zero, a mutation test of that test, a derived bound on random data, the same bits run
// after run and from a graph.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/cuda/gpu/answers.h"
#include "backend/cuda/gpu/device_case.h"
#include "backend/cuda/gpu/shapes.h"
#include "backend/cuda/kernel_rows.h"

namespace awq::backend::cuda::testing {
namespace {

const KernelTraits& row_named(std::string_view name) {
  return *std::find_if(kCudaRows.begin(), kCudaRows.end(), [&](const KernelTraits& r) { return r.name == name; });
}

std::vector<std::string> row_names() {
  std::vector<std::string> names;
  for (const KernelTraits& row : kCudaRows) names.emplace_back(row.name);
  return names;
}

// "" when this device runs the row.
std::string why_not(const std::string& row) {
  if (std::string none = why_no_gpu(); !none.empty()) return none;
  awq_cuda_linear w{};
  w.n = 64;
  w.k = w.group_size = 128;
  size_t bytes = 0;
  awq_cuda_message message;
  return awq_cuda_workspace_bytes(row.c_str(), &w, AWQ_CUDA_F16, 1, &bytes, &message) == AWQ_CUDA_OK ? ""
                                                                                                     : message.text;
}

class EachRow : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (const std::string why = why_not(GetParam()); !why.empty()) GTEST_SKIP() << why;
  }
  std::vector<awq_cuda_type> types() const {
    return row_named(GetParam()).bf16 ? std::vector{AWQ_CUDA_F16, AWQ_CUDA_BF16} : std::vector{AWQ_CUDA_F16};
  }
  std::vector<Shape> taken(const std::vector<Shape>& shapes) const { return taken_by(row_named(GetParam()), shapes); }
};
INSTANTIATE_TEST_SUITE_P(Cuda, EachRow, ::testing::ValuesIn(row_names()), [](const auto& row) { return row.param; });

std::string words(const Shape& shape, awq_cuda_type type) {
  return to_string(shape) + (type == AWQ_CUDA_BF16 ? " bf16" : " f16");
}

std::vector<uint16_t> run(const Case& c, const std::string& row, awq_cuda_type type) {
  const DeviceLinear linear(c);
  return Forward(linear, c, row, type).run();
}

void expect_exact_run(const Case& c, const std::string& row, awq_cuda_type type) {
  SCOPED_TRACE(words(c.shape, type));
  expect_exact(run(c, row, type), c, type);
}

void expect_run_within_bound(const Case& c, const std::string& row, awq_cuda_type type) {
  SCOPED_TRACE(words(c.shape, type));
  expect_within_bound(run(c, row, type), c, type, weights_of(row, type, c.shape.group));
}

TEST_P(EachRow, IsBitExactWhenNothingRounds) {
  for (const Shape& shape : taken(small_shapes()))
    for (const awq_cuda_type type : types()) expect_exact_run(exact_case(shape), GetParam(), type);
}

// Sums need 21 bits: an accumulator of 16 bits anywhere would show, although y has no more than 11.
TEST_P(EachRow, AddsInFloat32) {
  for (const Shape& shape : taken({{1, 72, 256, 128}, {16, 136, 256, 32}, {100, 136, 256, 64}}))
    for (const awq_cuda_type type : types()) expect_exact_run(wide_exact_case(shape, type), GetParam(), type);
}

TEST_P(EachRow, RoundsNoMoreThanFloat32Must) {
  for (const Shape& shape : taken(small_shapes()))
    for (const Zeros zeros : {Zeros::kAny, Zeros::kSymmetric})
      for (const awq_cuda_type type : types())
        expect_run_within_bound(random_case(shape, zeros, type), GetParam(), type);
}

TEST_P(EachRow, RoundsNoMoreThanFloat32MustOnModelShapes) {
  for (const Shape& shape : taken(model_shapes()))
    expect_run_within_bound(random_case(shape, Zeros::kAny, AWQ_CUDA_F16), GetParam(), AWQ_CUDA_F16);
}

// One problem for each kind of tile, small enough for compute-sanitizer (tools/gpu_checks.sh).
TEST_P(EachRow, WritesNothingElse) {
  std::vector<Shape> shapes;
  for (const int64_t m : {1, 5, 16, 33, 130})
    for (const Shape& shape : {Shape{m, 72, 160, 32}, Shape{m, 136, 384, 128}}) shapes.push_back(shape);
  for (const Shape& shape : taken(shapes))
    expect_run_within_bound(random_case(shape, Zeros::kAny, AWQ_CUDA_F16), GetParam(), AWQ_CUDA_F16);
}

// Moves one code of every second row, at a different place in each: those outputs must move and no others. All columns
// have their turn in `k` launches of each parity.
TEST_P(EachRow, EveryWeightMatters) {
  for (const Shape& shape : taken({{1, 136, 160, 32}, {12, 72, 384, 128}, {70, 72, 192, 64}})) {
    const Case c = exact_case(shape);
    DeviceLinear linear(c);
    Forward forward(linear, c, GetParam(), AWQ_CUDA_F16);
    const std::vector<uint16_t> before = forward.run();
    for (int64_t turn = 0; turn < 2 * shape.k; ++turn) {
      format::QuantizedLinear moved = c.linear;
      for (int64_t row = turn % 2; row < shape.n; row += 2)
        moved.q[row * shape.k + (turn / 2 + 7 * row) % shape.k] ^= 1;
      linear.repack(moved);
      const std::vector<uint16_t> after = forward.run();
      for (int64_t i = 0; i < std::ssize(after); ++i)
        ASSERT_EQ(after[i] != before[i], (i % shape.n - turn) % 2 == 0)
            << to_string(shape) << " turn " << turn << " output " << i;
    }
  }
}

// x = 1 everywhere: a zero point moves its row by the scale times the group.
TEST_P(EachRow, EveryZeroPointMatters) {
  const Shape shape = nearest_taken(row_named(GetParam()), {5, 136, 384, 64});
  Case c = exact_case(shape);
  std::fill(c.x.begin(), c.x.end(), 1.f);
  DeviceLinear linear(c);
  Forward forward(linear, c, GetParam(), AWQ_CUDA_F16);
  const std::vector<uint16_t> before = forward.run();
  const int64_t groups = c.linear.groups();
  for (int64_t turn = 0; turn < 2 * groups; ++turn) {
    format::QuantizedLinear moved = c.linear;
    for (int64_t row = turn % 2; row < shape.n; row += 2) moved.zeros[row * groups + turn / 2] ^= 1;
    linear.repack(moved);
    const std::vector<uint16_t> after = forward.run();
    for (int64_t i = 0; i < std::ssize(after); ++i)
      ASSERT_EQ(after[i] != before[i], (i % shape.n - turn) % 2 == 0) << "turn " << turn << " output " << i;
  }
}

TEST_P(EachRow, GivesTheSameBitsAHundredTimes) {
  for (const Shape& shape : taken({{1, 4096, 4096, 128}, {16, 4096, 2048, 128}, {96, 1000, 4160, 64}})) {
    const Case c = random_case(shape, Zeros::kAny, AWQ_CUDA_F16);
    const DeviceLinear linear(c);
    Forward forward(linear, c, GetParam(), AWQ_CUDA_F16);
    const std::vector<uint16_t> first = forward.run();
    for (int i = 1; i < 100; ++i) ASSERT_EQ(forward.run(), first) << to_string(shape) << " run " << i;
  }
}

// Padding of k and of m meets other tokens' numbers nowhere: 0 * NaN would show.
TEST_P(EachRow, NotANumberStaysInItsToken) {
  for (const Shape& shape : taken({{3, 72, 96, 32}, {16, 72, 160, 32}, {33, 72, 136, 136}}))
    for (const int64_t bad_token : {int64_t{0}, shape.m - 1}) {
      Case c = exact_case(shape);
      const std::vector<uint16_t> before = run(c, GetParam(), AWQ_CUDA_F16);
      std::fill_n(c.x.begin() + bad_token * shape.k, shape.k, std::numeric_limits<float>::quiet_NaN());
      const std::vector<uint16_t> after = run(c, GetParam(), AWQ_CUDA_F16);
      for (int64_t i = 0; i < std::ssize(after); ++i) {
        const bool hit = i / shape.n == bad_token;
        ASSERT_TRUE(hit ? std::isnan(f16_to_f32(after[i])) : after[i] == before[i])
            << to_string(shape) << " output " << i;
      }
    }
}

TEST_P(EachRow, CanBeCapturedInAGraph) {
  const Shape shape = nearest_taken(row_named(GetParam()), {9, 136, 512, 128});
  const Case c = random_case(shape, Zeros::kAny, AWQ_CUDA_F16);
  const DeviceLinear linear(c);
  Forward forward(linear, c, GetParam(), AWQ_CUDA_F16);
  const std::vector<uint16_t> expected = forward.run();
  forward.y().poison();
  require(cudaDeviceSynchronize());
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  require(cudaStreamCreate(&stream));
  require(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  forward.launch(stream);
  forward.launch(stream);  // a linear after a linear: programmatic dependent launch must survive the capture
  require(cudaStreamEndCapture(stream, &graph));
  require(cudaGraphInstantiate(&executable, graph, 0));
  require(cudaGraphLaunch(executable, stream));
  require(cudaStreamSynchronize(stream));
  EXPECT_EQ(forward.y().download<uint16_t>(), expected);
  require(cudaGraphExecDestroy(executable));
  require(cudaGraphDestroy(graph));
  require(cudaStreamDestroy(stream));
}

}  // namespace
}  // namespace awq::backend::cuda::testing
