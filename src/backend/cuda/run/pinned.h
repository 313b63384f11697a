// Host memory that the device reads and writes by itself: no copy to wait for on either side of a step.
#pragma once
#include <span>

#include "backend/cuda/cuda_objects.h"

namespace awq::backend::cuda {

template <class T>
class Pinned {
 public:
  explicit Pinned(int64_t count) : count_(static_cast<size_t>(count)) {
    check_cuda(cudaHostAlloc(reinterpret_cast<void**>(&data_), count_ * sizeof(T), cudaHostAllocMapped),
               "allocating pinned host memory");
    check_cuda(cudaHostGetDevicePointer(reinterpret_cast<void**>(&device_), data_, 0), "mapping pinned host memory");
  }
  ~Pinned() { cudaFreeHost(data_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

  std::span<T> host() const { return {data_, count_}; }
  T* device() const { return device_; }

 private:
  T *data_ = nullptr, *device_ = nullptr;
  size_t count_;
};

}  // namespace awq::backend::cuda
