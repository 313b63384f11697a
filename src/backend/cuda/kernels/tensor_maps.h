// The boxes that a stage of the Hopper kernels is made of, as tensor maps of the driver.
#pragma once
#include <cuda.h>

#include "backend/cuda/linear_launch.h"

namespace awq::backend::cuda {

struct PipelineMaps {
  CUtensorMap x, qweight, scales, zeros;
};

// Boxes of one stage of 128 k: x (tokens x 64 k, `x_boxes` copies a stage), and for `row_blocks` blocks of 64 rows the
// weights (2 x 2048 bytes), scales (`groups` x 128 bytes) and zero points (`groups` x 32). Needs k % 64 == 0. An error
// of the driver, or cudaErrorNotSupported where the driver has no tensor maps.
cudaError_t make_pipeline_maps(const LinearArgs&, int tokens, int x_boxes, int row_blocks, int groups,
                               PipelineMaps* maps);

}  // namespace awq::backend::cuda
