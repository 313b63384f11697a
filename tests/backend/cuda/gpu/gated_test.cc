// silu(gate) up from the kernels that take LinearArgs::gated, against the sums that the same kernels store without it:
// on problems whose sums round nowhere, so that only the last rounding is left to be bounded.
#include <gtest/gtest.h>

#include <cmath>

#include "backend/cuda/arguments.h"
#include "backend/cuda/current_gpu.h"
#include "backend/cuda/gpu/answers.h"
#include "backend/cuda/gpu/device_case.h"
#include "backend/cuda/gpu/shapes.h"
#include "backend/cuda/kernel_rows.h"
#include "backend/cuda/launchers.h"
#include "backend/cuda/run/host_linear.h"

namespace awq::backend::cuda::testing {
namespace {

class GatedProblem {
 public:
  explicit GatedProblem(const Shape& shape)
      : case_(exact_case(shape)), linear_(case_), x_(std::span<const uint16_t>(x_bits(case_, AWQ_CUDA_F16))) {}

  // (m, n), or gated (m, n / 2).
  std::vector<uint16_t> run(size_t row, bool gated) {
    const Gpu gpu = current_gpu();
    const awq_cuda_linear view = linear_.view();
    LinearArgs a;
    a.layout = checked_layout(&view);
    a.m = case_.shape.m;
    a.x = x_.data(), a.qweight = view.qweight, a.scales = view.scales, a.zeros = view.zeros, a.bias = view.bias;
    a.salient = {view.salient_count, view.salient_index, view.salient_delta};
    a.gated = gated;
    DeviceMemory y(static_cast<size_t>(a.m * a.layout.n) * sizeof(uint16_t) / (gated ? 2 : 1));
    const DeviceMemory workspace(launcher(row).workspace(a, gpu));
    a.y = y.data();
    a.workspace = workspace.data(), a.workspace_bytes = workspace.bytes();
    y.poison();
    require(launcher(row).launch(a, gpu));
    require(cudaDeviceSynchronize());
    EXPECT_TRUE(y.guards_intact());
    return y.download<uint16_t>();
  }

 private:
  Case case_;
  DeviceLinear linear_;
  DeviceMemory x_;
};

TEST(Gated, IsSiluOfGateTimesUp) {
  if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
  if (current_gpu().capability != 90) GTEST_SKIP() << "no kernel for this GPU takes gate and up";
  int rows = 0;
  for (size_t row = 0; row < kCudaRows.size(); ++row) {
    if (!launcher(row).gates) continue;
    ++rows;
    for (const Shape& shape :
         {Shape{5, 144, 256, 64}, Shape{16, 304, 640, 128}, Shape{70, 144, 384, 128}, Shape{260, 272, 384, 128}}) {
      SCOPED_TRACE(std::string(kCudaRows[row].name) + " " + to_string(shape));
      GatedProblem problem(shape);
      const std::vector<uint16_t> both = problem.run(row, false), got = problem.run(row, true);
      const int64_t half = shape.n / 2;
      for (int64_t i = 0; i < shape.m * half; ++i) {
        const auto sum = [&](int64_t part) {
          return f16_to_f32(both[i / half * shape.n + row_in_turn(part, i % half)]);
        };
        const double gate = sum(0), want = gate / (1 + std::exp(-gate)) * sum(1);
        ASSERT_NEAR(f16_to_f32(got[i]), want, std::abs(want) * (0x1p-11 + 0x1p-17) + 0x1p-24) << i;
      }
    }
  }
  EXPECT_GE(rows, 2);
}

}  // namespace
}  // namespace awq::backend::cuda::testing
