// The two rows of the Hopper kernel.
#include "backend/cuda/kernels/launch_sm90a.cuh"
#include "backend/cuda/launchers.h"

namespace awq::backend::cuda {

// Each in a file of its own: many instances.
cudaError_t launch_gemv_w4a16_sm90a_f16(const LinearArgs&, const PipelinePlan&);
cudaError_t launch_gemv_w4a16_sm90a_bf16(const LinearArgs&, const PipelinePlan&);
cudaError_t launch_gemm_w4a16_sm90a_f16(const LinearArgs&, const PipelinePlan&);
cudaError_t launch_gemm_w4a16_sm90a_bf16(const LinearArgs&, const PipelinePlan&);

namespace {

template <auto& kTiles, auto& kF16, auto& kBf16>
cudaError_t launch(const LinearArgs& a, const Gpu& gpu) {
  const PipelinePlan plan = plan_pipeline(kTiles, a.layout, a.m, gpu);
  return a.bf16 ? kBf16(a, plan) : kF16(a, plan);
}

}  // namespace

const Launcher kGemvPipelineSm90a = {pipeline_workspace<kIntegerTiles>,
                                     launch<kIntegerTiles, launch_gemv_w4a16_sm90a_f16, launch_gemv_w4a16_sm90a_bf16>};
const Launcher kGemmWgmmaSm90a = {pipeline_workspace<kScaledTiles>,
                                  launch<kScaledTiles, launch_gemm_w4a16_sm90a_f16, launch_gemm_w4a16_sm90a_bf16>};

}  // namespace awq::backend::cuda
