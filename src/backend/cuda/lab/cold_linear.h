// A random linear in as many copies as make its weights cold, and dense f16 matrices of the same shape.
#pragma once
#include <cstdint>
#include <vector>

#include "awq/cuda.h"
#include "awq/devices.h"
#include "backend/cuda/cuda_objects.h"
#include "backend/cuda/lab/reference.h"

namespace awq::backend::cuda::lab {

// Bytes that copies used in turn must total: `asked`, and twice the L2, so that a copy is evicted before it comes
// again.
uint64_t cold_total(uint64_t asked, uint64_t l2_bytes);
int cold_copies(uint64_t bytes, uint64_t total);  // at least 2

// Throws Error with the text that the C API gave; kDevice when the hardware or CUDA is the reason, else kBadInput.
void check_status(awq_cuda_status, const awq_cuda_message&);

class ColdLinear {
 public:
  // Makes the random linear of that shape unless it is the one held already.
  void make(int64_t n, int64_t k, int group, uint64_t total, cudaStream_t);

  int copies() const { return copies_; }
  const awq_cuda_linear& copy(int i) const { return linears_[static_cast<size_t>(i)]; }
  const PlainLinear& plain() const { return plain_; }

  // Dense matrices, normal and not of this linear's values; made when first asked for.
  int dense_copies(cudaStream_t);
  const void* dense(int i) const;  // f16 (n, k)

 private:
  void fill_plain(cudaStream_t);
  void fill_copies(cudaStream_t);

  uint64_t total_ = 0;
  PlainLinear plain_;
  int copies_ = 0, dense_copies_ = 0;
  std::vector<awq_cuda_linear> linears_;
  DeviceBuffer codes_, zeros_, scales_;  // plain
  DeviceBuffer packed_, dense_;
};

}  // namespace awq::backend::cuda::lab
