// The Hopper kernel by row and type, with any plan of the row's tiles: launchers_sm90a.cu makes the plan, tests give
// each. Every one in a file of its own, because it is many instances.
#pragma once
#include "backend/cuda/kernels/pipeline_plan.h"

namespace awq::backend::cuda {

cudaError_t launch_gemv_w4a16_sm90a_f16(const LinearArgs&, const PipelinePlan&);  // kIntegerTiles
cudaError_t launch_gemv_w4a16_sm90a_bf16(const LinearArgs&, const PipelinePlan&);
cudaError_t launch_gemm_w4a16_sm90a_f16(const LinearArgs&, const PipelinePlan&);  // kScaledTiles
cudaError_t launch_gemm_w4a16_sm90a_bf16(const LinearArgs&, const PipelinePlan&);

}  // namespace awq::backend::cuda
