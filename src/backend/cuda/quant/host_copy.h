// From the device into ordinary memory at the rate of the bus: slices go through pinned memory, several threads empty
// it. The driver alone copies to pageable memory with one thread: 218 MB of codes a block of Llama-3-8B in some 25 ms
// at 8 GB/s, against 5 ms at 50 GB/s.
#pragma once
#include <cstddef>
#include <future>
#include <span>
#include <vector>

#include "backend/cuda/cuda_objects.h"

namespace awq::backend::cuda::quant {

class HostCopy {
 public:
  explicit HostCopy(cudaStream_t stream) : stream_(stream) {}

  // After what is on the stream; `to` is filled when it returns.
  void copy(const std::byte* from, std::span<std::byte> to);

 private:
  struct Slot {
    PinnedBuffer memory;
    Event filled;
    std::future<void> emptied;  // last: its destructor waits
  };
  void start(Slot&, const std::byte* from, std::span<std::byte> to);

  void finish();

  cudaStream_t stream_;
  std::vector<Slot> slots_;
};

}  // namespace awq::backend::cuda::quant
