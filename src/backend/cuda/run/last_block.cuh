// Several blocks make parts of one result; the one that ends last puts them together, in the order of the parts.
#pragma once
#include <cstdint>

namespace awq::backend::cuda {

// True in the block that is the last of `used` to arrive: it sees what the others wrote.
__device__ __forceinline__ bool arrives_last(int32_t* ticket, int used) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(ticket, 1) == used - 1;
    if (last) *ticket = 0;  // for the next launch
  }
  __syncthreads();
  __threadfence();
  return last;
}

}  // namespace awq::backend::cuda
