// f16 linears of few rows on chips with bulk copies (9.0): weights stream through a ring in shared memory.
#pragma once
#include "backend/cuda/run/dense.h"

namespace awq::backend::cuda {

// Whether the device, k and m are such that x and enough of the ring find room.
bool takes_stream(const DenseArgs&, const LaunchTarget&);
cudaError_t launch_stream(const DenseArgs&, const LaunchTarget&);

}  // namespace awq::backend::cuda
