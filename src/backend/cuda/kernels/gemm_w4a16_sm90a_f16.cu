// Instances of the Hopper kernel for float16.
#include "backend/cuda/kernels/launch_sm90a.cuh"
#include "backend/cuda/kernels/launchers_sm90a.h"

namespace awq::backend::cuda {

cudaError_t launch_gemm_w4a16_sm90a_f16(const LinearArgs& a, const PipelinePlan& plan) {
  return launch_groups<kScaledTiles, false, __half>(a, plan);
}

}  // namespace awq::backend::cuda
