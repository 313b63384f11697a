// Owners of what is asked of CUDA, and the check that every call goes through.
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace awq::backend::cuda {

// Throws Error(kNoRoom) when memory ran out and Error(kDevice) for any other failure; `doing` completes "while ...".
void check_cuda(cudaError_t status, const char* doing);

struct Release {
  void operator()(cudaStream_t stream) const noexcept { cudaStreamDestroy(stream); }
  void operator()(cudaEvent_t event) const noexcept { cudaEventDestroy(event); }
  void operator()(cudaGraph_t graph) const noexcept { cudaGraphDestroy(graph); }
  void operator()(cudaGraphExec_t graph) const noexcept { cudaGraphExecDestroy(graph); }
};
template <class Handle>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Release>;
using Stream = Owned<cudaStream_t>;
using Event = Owned<cudaEvent_t>;
using Graph = Owned<cudaGraph_t>;
using GraphExec = Owned<cudaGraphExec_t>;

Stream make_stream();
Event make_event();

// Device memory that grows when asked to and is then used again: it allocates a few times only.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  ~DeviceBuffer() { cudaFree(data_); }
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  void reserve(size_t bytes);  // what the buffer held is lost when it grows
  size_t bytes() const { return bytes_; }
  template <class T = void>
  T* as(size_t byte_offset = 0) const {
    return reinterpret_cast<T*>(static_cast<std::byte*>(data_) + byte_offset);
  }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace awq::backend::cuda
