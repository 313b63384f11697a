// Owners of what is asked of CUDA, and the check that every call goes through.
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
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

// Device memory that its user may take, as if the card had no more.
class MemoryBudget {
 public:
  explicit MemoryBudget(uint64_t limit) : limit_(limit) {}  // bytes; 0: what the card has
  uint64_t left() const { return limit_ == 0 ? UINT64_MAX : limit_ - used_; }
  void take(uint64_t bytes) { used_ += bytes; }
  void give_back(uint64_t bytes) { used_ -= bytes; }

  // While it lives, buffers that grow on this thread count against the budget; like CUDA's current device.
  class Scope {
   public:
    explicit Scope(MemoryBudget&);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    MemoryBudget* const before_;
  };

 private:
  const uint64_t limit_;
  uint64_t used_ = 0;
};

// Device memory that grows when asked to and is then used again: it allocates a few times only.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)),
        budget_(std::exchange(other.budget_, nullptr)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(budget_, other.budget_);
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
  MemoryBudget* budget_ = nullptr;  // that the bytes were taken from; outlives the buffer
};

// Host memory that the device copies from and to at the full rate of the bus.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  ~PinnedBuffer() { cudaFreeHost(data_); }
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(const PinnedBuffer&) = delete;
  void reserve(size_t bytes);  // what the buffer held is lost when it grows
  std::byte* data() const { return static_cast<std::byte*>(data_); }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace awq::backend::cuda
