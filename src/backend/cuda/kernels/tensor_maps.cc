#include "backend/cuda/kernels/tensor_maps.h"

#include <cuda_runtime_api.h>

#include <span>

namespace awq::backend::cuda {
namespace {

using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*,
                            const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                            CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

// From the driver through the runtime, so that nothing links against libcuda. The address never changes.
Encode find_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t e =
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
  return e == cudaSuccess && found == cudaDriverEntryPointSuccess ? reinterpret_cast<Encode>(function) : nullptr;
}

struct Axis {  // innermost first; `stride` in bytes, unused for the innermost
  int64_t size, stride;
  int box;
};

cudaError_t encode(CUtensorMap* map, CUtensorMapDataType type, const void* base, const Axis (&axes)[3],
                   CUtensorMapSwizzle swizzle) {
  static const Encode function = find_encode();
  if (function == nullptr) return cudaErrorNotSupported;
  cuuint64_t sizes[3], strides[2];
  cuuint32_t box[3];
  const cuuint32_t steps[3] = {1, 1, 1};
  for (int i = 0; i < 3; ++i) {
    sizes[i] = static_cast<cuuint64_t>(axes[i].size);
    box[i] = static_cast<cuuint32_t>(axes[i].box);
    if (i > 0) strides[i - 1] = static_cast<cuuint64_t>(axes[i].stride);
  }
  const CUresult result =
      function(map, type, 3, const_cast<void*>(base), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
               swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t first_failure(std::span<const cudaError_t> results) {
  for (const cudaError_t e : results)
    if (e != cudaSuccess) return e;
  return cudaSuccess;
}

}  // namespace

cudaError_t make_pipeline_maps(const LinearArgs& a, const PipelineBoxes& box, PipelineMaps* maps) {
  const int64_t blocks = a.layout.padded_n() / kRowBlock, chunks = a.layout.chunks(), all_groups = a.layout.groups();
  const auto x_type = a.bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  const cudaError_t results[] = {
      encode(&maps->x, x_type, a.x,
             {{64, 0, 64}, {a.m, a.layout.k * 2, box.tokens}, {a.layout.k / 64, 128, box.x_chunks}},
             CU_TENSOR_MAP_SWIZZLE_128B),
      encode(&maps->qweight, CU_TENSOR_MAP_DATA_TYPE_INT64, a.qweight,
             {{256, 0, 256 / box.parts}, {chunks, 2048, box.chunks}, {blocks, chunks * 2048, box.row_blocks}},
             CU_TENSOR_MAP_SWIZZLE_NONE),
      encode(&maps->scales, CU_TENSOR_MAP_DATA_TYPE_UINT16, a.scales,
             {{64, 0, 64 / box.parts}, {all_groups, 128, box.groups}, {blocks, all_groups * 128, box.row_blocks}},
             CU_TENSOR_MAP_SWIZZLE_NONE),
      encode(&maps->zeros, CU_TENSOR_MAP_DATA_TYPE_UINT8, a.zeros,
             {{32, 0, 32 / box.parts}, {all_groups, 32, box.groups}, {blocks, all_groups * 32, box.row_blocks}},
             CU_TENSOR_MAP_SWIZZLE_NONE)};
  return first_failure(results);
}

cudaError_t make_output_map(const LinearArgs& a, int tokens, CUtensorMap* map) {
  const auto type = a.bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  const int64_t n = a.gated ? a.layout.n / 2 : a.layout.n;
  return encode(map, type, a.y, {{n, 0, a.gated ? 32 : 64}, {a.m, n * 2, tokens}, {1, a.m * n * 2, 1}},
                a.gated ? CU_TENSOR_MAP_SWIZZLE_64B : CU_TENSOR_MAP_SWIZZLE_128B);
}

cudaError_t make_tile_maps(const TileLayout& layout, const void* qweight, const void* scales, const void* zeros,
                           int chunks, int groups, CUtensorMap (&maps)[3]) {
  const int64_t blocks = layout.padded_n() / kRowBlock, all_chunks = layout.chunks(), all_groups = layout.groups();
  const cudaError_t results[] = {
      encode(&maps[0], CU_TENSOR_MAP_DATA_TYPE_INT64, qweight,
             {{256, 0, 64}, {all_chunks, 2048, chunks}, {blocks, all_chunks * 2048, 1}}, CU_TENSOR_MAP_SWIZZLE_NONE),
      encode(&maps[1], CU_TENSOR_MAP_DATA_TYPE_UINT16, scales,
             {{64, 0, 16}, {all_groups, 128, groups}, {blocks, all_groups * 128, 1}}, CU_TENSOR_MAP_SWIZZLE_NONE),
      encode(&maps[2], CU_TENSOR_MAP_DATA_TYPE_UINT8, zeros,
             {{32, 0, 16}, {all_groups, 32, groups}, {blocks, all_groups * 32, 1}}, CU_TENSOR_MAP_SWIZZLE_NONE)};
  return first_failure(results);
}

cudaError_t make_rows_map(const void* base, int64_t n, int64_t k, int rows, int chunks, CUtensorMap* map) {
  return encode(map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, base, {{64, 0, 64}, {n, k * 2, rows}, {k / 64, 128, chunks}},
                CU_TENSOR_MAP_SWIZZLE_128B);
}

}  // namespace awq::backend::cuda
