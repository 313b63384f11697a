// A host array on its way to the device.
#pragma once
#include <vector>

#include "backend/cuda/cuda_objects.h"

namespace awq::backend::cuda {

// In order of the stream: `from` must live until it is done. Nothing where it is empty.
template <class T>
void upload(DeviceBuffer& to, const std::vector<T>& from, cudaStream_t stream) {
  if (from.empty()) return;
  to.reserve(from.size() * sizeof(T));
  check_cuda(cudaMemcpyAsync(to.as(), from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice, stream),
             "copying weights to the device");
}

}  // namespace awq::backend::cuda
