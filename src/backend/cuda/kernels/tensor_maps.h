// The boxes that a stage of the Hopper kernels is made of, as tensor maps of the driver.
#pragma once
#include <cuda.h>

#include "backend/cuda/linear_launch.h"

namespace awq::backend::cuda {

struct PipelineMaps {
  CUtensorMap x, qweight, scales, zeros;
  CUtensorMap y;  // where finished tiles are staged (store_staged.cuh)
};

// x: tokens x 64 k, x_chunks times. Of row_blocks blocks of 64 rows: weights (chunks x 2048 bytes), scales (groups x
// 128) and zero points (groups x 32); with two parts half the rows, and half the bytes, of every block.
struct PipelineBoxes {
  int tokens, x_chunks;
  int row_blocks, chunks, groups;
  int parts;
};
// Needs k % 64 == 0. An error of the driver, or cudaErrorNotSupported where the driver has no tensor maps.
cudaError_t make_pipeline_maps(const LinearArgs&, const PipelineBoxes&, PipelineMaps* maps);

// y in boxes of 64 rows of the weights x `tokens`, each as [token][128 bytes, swizzled]; gated, half as many bytes.
cudaError_t make_output_map(const LinearArgs&, int tokens, CUtensorMap* map);

// Boxes of one tile of 16 rows and `chunks` x 64 k: weights [chunk][512 bytes], scales [group][32 bytes], and the zero
// points of two tiles, [group][16 bytes].
cudaError_t make_tile_maps(const TileLayout&, const void* qweight, const void* scales, const void* zeros, int chunks,
                           int groups, CUtensorMap (&maps)[3]);

// f16 (n, k) in boxes of `rows` rows x `chunks` times 64 k, a box as [chunk][row][128 bytes, swizzled]. Needs
// k % 64 == 0.
cudaError_t make_rows_map(const void* base, int64_t n, int64_t k, int rows, int chunks, CUtensorMap* map);

}  // namespace awq::backend::cuda
