// Instances of the Hopper kernel for float16.
#include "backend/cuda/kernels/launch_sm90a.cuh"
#include "backend/cuda/kernels/launchers_sm90a.h"

namespace awq::backend::cuda {

cudaError_t launch_gemv_w4a16_sm90a_f16(const LinearArgs& a, const PipelinePlan& plan) {
  return launch_groups<kIntegerTiles, true, __half>(a, plan);
}

}  // namespace awq::backend::cuda
