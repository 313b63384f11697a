// Launches a kernel so that the next one of the stream may start before it has ended (9.0), with its shared memory
// allowed.
#pragma once
#include <cuda_runtime_api.h>

namespace awq::backend::cuda {

template <class... Params>
cudaError_t launch_with(const cudaLaunchAttribute* attributes, unsigned count, void (*kernel)(Params...), dim3 grid,
                        int threads, size_t smem, cudaStream_t stream, const Params&... params) {
  const auto* function = reinterpret_cast<const void*>(kernel);
  if (const cudaError_t e =
          cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(smem));
      e != cudaSuccess)
    return e;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = smem;
  config.stream = stream;
  config.attrs = const_cast<cudaLaunchAttribute*>(attributes);
  config.numAttrs = count;
  return cudaLaunchKernelEx(&config, kernel, params...);
}

// `cluster`: blocks of the grid that start together and see each other's shared memory (9.0); 1: none.
template <class... Params>
cudaError_t launch_in_clusters(unsigned cluster, void (*kernel)(Params...), dim3 grid, int threads, size_t smem,
                               cudaStream_t stream, bool overlap, const Params&... params) {
  cudaLaunchAttribute attributes[2]{};
  unsigned count = 0;
  if (overlap) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count++].val.clusterDim = {cluster, 1, 1};
  }
  return launch_with(attributes, count, kernel, grid, threads, smem, stream, params...);
}

// All blocks run at the same time and may wait for each other: an error where they do not fit.
template <class... Params>
cudaError_t launch_cooperative(void (*kernel)(Params...), dim3 grid, int threads, size_t smem, cudaStream_t stream,
                               const Params&... params) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeCooperative;
  attribute.val.cooperative = 1;
  return launch_with(&attribute, 1, kernel, grid, threads, smem, stream, params...);
}

template <class... Params>
cudaError_t launch_kernel(void (*kernel)(Params...), dim3 grid, int threads, size_t smem, cudaStream_t stream,
                          bool overlap, const Params&... params) {
  return launch_in_clusters(1, kernel, grid, threads, smem, stream, overlap, params...);
}

}  // namespace awq::backend::cuda
