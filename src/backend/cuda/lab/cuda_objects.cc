#include "backend/cuda/lab/cuda_objects.h"

#include <string>

#include "awq/error.h"

namespace awq::backend::cuda::lab {

void check_cuda(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  const bool memory = status == cudaErrorMemoryAllocation;
  cudaGetLastError();  // an error that does not stick must not be reported again by the next launch
  throw Error(memory ? ErrorKind::kNoRoom : ErrorKind::kDevice, std::string("CUDA reported \"") +
                                                                    cudaGetErrorString(status) + "\" (" +
                                                                    cudaGetErrorName(status) + ") while " + doing);
}

Stream make_stream() {
  cudaStream_t stream = nullptr;
  check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream");
  return Stream(stream);
}

Event make_event() {
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreate(&event), "creating an event");
  return Event(event);
}

void DeviceBuffer::reserve(size_t bytes) {
  if (bytes <= bytes_) return;
  *this = DeviceBuffer();  // free first: the old and the new block need not fit together
  const std::string doing = "allocating " + std::to_string(bytes) + " bytes of device memory";
  check_cuda(cudaMalloc(&data_, bytes), doing.c_str());
  bytes_ = bytes;
}

}  // namespace awq::backend::cuda::lab
