// The two rows of the Hopper kernel.
#include "backend/cuda/kernels/launchers_sm90a.h"

#include "backend/cuda/launchers.h"

namespace awq::backend::cuda {
namespace {

template <auto& kTiles, auto& kF16, auto& kBf16>
cudaError_t launch(const LinearArgs& a, const Gpu& gpu) {
  const PipelinePlan plan = plan_launch(kTiles, a, gpu);
  return a.bf16 ? kBf16(a, plan) : kF16(a, plan);
}

template <auto& kTiles>
size_t workspace(const LinearArgs&, const Gpu& gpu) {
  return pipeline_workspace(kTiles, gpu);
}

}  // namespace

const Launcher kGemvPipelineSm90a = {
    .workspace = workspace<kIntegerTiles>,
    .launch = launch<kIntegerTiles, launch_gemv_w4a16_sm90a_f16, launch_gemv_w4a16_sm90a_bf16>,
    .gates = true};
const Launcher kGemmWgmmaSm90a = {
    .workspace = workspace<kScaledTiles>,
    .launch = launch<kScaledTiles, launch_gemm_w4a16_sm90a_f16, launch_gemm_w4a16_sm90a_bf16>,
    .gates = true};

}  // namespace awq::backend::cuda
