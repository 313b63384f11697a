// Comes before every translated kernel source (-include): CUDA's language as C++, for one architecture.
#pragma once
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <functional>
#include <tuple>

#include "backend/cuda/emulated/intrinsics.h"
#include "backend/cuda/emulated/ptx.h"
#include "backend/cuda/emulated/streams.h"
#include "backend/cuda/emulated/wgmma.h"

#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __global__
#define __global__
#undef __device__
#define __device__
#undef __host__
#define __host__
#undef __forceinline__
#define __forceinline__ inline
#undef __grid_constant__
#define __grid_constant__
#define __CUDA_ARCH__ AWQ_EMULATED_ARCH

namespace awq::emulated {

// The dynamic shared memory of the block.
template <class T>
T* dynamic_shared(size_t alignment) {
  return static_cast<T*>(dynamic_shared_bytes(alignment > alignof(T) ? alignment : alignof(T)));
}

// A __shared__ variable: `site` is a lambda, so a type of its own for every declaration of every instance.
template <class T, class Site>
T& static_shared(Site, size_t alignment) {
  static const char tag = 0;
  return *static_cast<T*>(static_shared_bytes(&tag, sizeof(T), alignment > alignof(T) ? alignment : alignof(T)));
}

// kernel<<<grid, block, smem, stream>>>.
inline auto launched(dim3 grid, dim3 block, size_t smem = 0, cudaStream_t stream = nullptr) {
  return [=](auto body, auto... arguments) {
    submit(stream, [=] { return run({grid, block, 1, smem, false}, [&] { body(arguments...); }); });
  };
}

}  // namespace awq::emulated

// Of cuda_runtime.h, which is nvcc's.
template <class Result, class... Params>
cudaError_t cudaFuncSetAttribute(Result (*kernel)(Params...), cudaFuncAttribute attribute, int value) {
  return cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), attribute, value);
}
template <class Result, class... Params>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* out, Result (*kernel)(Params...)) {
  return cudaFuncGetAttributes(out, reinterpret_cast<const void*>(kernel));
}
template <class Result, class... Params>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Result (*kernel)(Params...), int threads,
                                                          size_t smem) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, reinterpret_cast<const void*>(kernel), threads, smem);
}
template <class... Params, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Params...), Arguments&&... arguments) {
  awq::emulated::Launch launch{config->gridDim, config->blockDim, 1, config->dynamicSmemBytes, false};
  bool early = false;
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const cudaLaunchAttribute& attribute = config->attrs[i];
    if (attribute.id == cudaLaunchAttributeCooperative) launch.cooperative = attribute.val.cooperative != 0;
    if (attribute.id == cudaLaunchAttributeProgrammaticStreamSerialization)
      early = attribute.val.programmaticStreamSerializationAllowed != 0;
    if (attribute.id == cudaLaunchAttributeClusterDimension) launch.cluster = attribute.val.clusterDim.x;
  }
  const std::tuple<std::remove_cv_t<Params>...> values(arguments...);
  return awq::emulated::submit(
      config->stream, [=] { return awq::emulated::run(launch, [&] { std::apply(kernel, values); }); }, early);
}
