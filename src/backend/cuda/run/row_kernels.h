// Launchers of what a decoder block does to single rows between its linears. All return CUDA's status of the launch.
#pragma once
#include <cuda_fp16.h>

#include "backend/cuda/run/step.h"

namespace awq::backend::cuda {

// hidden[r] = embedding[rows[r].token], widened; `rows` may be host memory mapped into the device, `rows_out` is where
// the later kernels of the step read them (may be `rows`). Waits for whatever came before.
struct EmbedArgs {
  const StepRow* rows;      // (m)
  StepRow* rows_out;        // (m)
  const __half* embedding;  // (vocab, n)
  float* hidden;            // (m, n)
  int64_t m, n;
};
cudaError_t launch_embed(const EmbedArgs&, const LaunchTarget&);

// hidden += y (unless null), then out = hidden / sqrt(mean(hidden^2) + eps) * weight in f16. With `picked`: row i of
// out is row picked[i] of hidden and y, and hidden stays as it is.
struct AddNormArgs {
  float* hidden;          // (m, n)
  const __half* y;        // (m, n) or null
  const float* weight;    // (n)
  __half* out;            // (m, n)
  const int32_t* picked;  // (m) or null
  int64_t m, n;
  float eps;
  // The next kernel starts only when all before this one is complete and visible: what a step's first kernel wrote may
  // then be read by any later one ahead of its own wait.
  bool in_order = false;
};
cudaError_t launch_add_norm(const AddNormArgs&, const LaunchTarget&);

// out = silu(gate) * up, f16, held within f16's range; gate_up (m, 2 n): eight of gate and eight of up in turn
// (host_linear.h).
cudaError_t launch_silu_mul(const __half* gate_up, __half* out, int64_t m, int64_t n, const LaunchTarget&);

// y[r] += bias
cudaError_t launch_add_bias(__half* y, const __half* bias, int64_t m, int64_t n, const LaunchTarget&);

}  // namespace awq::backend::cuda
