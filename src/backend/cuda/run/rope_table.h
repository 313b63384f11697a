// Cosines and sines of rotary embeddings on the device, computed on the host in double as the CPU does, so that both
// rotate alike; memory for the whole capacity at once (67 MB for 131,072 positions of 128 features), filled as contexts
// grow.
#pragma once
#include <cstdint>
#include <vector>

#include "backend/cuda/cuda_objects.h"

namespace awq::backend::cuda {

class RopeOnDevice {
 public:
  RopeOnDevice(std::vector<float> frequencies, int64_t capacity);
  void extend(int64_t positions, cudaStream_t);               // afterwards data() holds for p < positions
  const float2* data() const { return table_.as<float2>(); }  // (capacity, frequencies)
  uint64_t bytes() const { return table_.bytes(); }

 private:
  std::vector<float> frequencies_;
  int64_t capacity_, filled_ = 0;
  std::vector<float2> rows_;  // being uploaded
  DeviceBuffer table_;
};

}  // namespace awq::backend::cuda
