#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "backend/cuda/cuda_objects.h"
#include "backend/cuda/lab/random_data.h"

namespace awq::backend::cuda::lab {
namespace {

constexpr int kThreads = 256, kBlocks = 1024;

// splitmix64's finalizer: every bit of the index reaches every bit of the answer.
__device__ uint64_t random_bits(uint64_t seed, int64_t index) {
  uint64_t v = seed * 0x9e3779b97f4a7c15u + static_cast<uint64_t>(index) + 1;
  v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9u;
  v = (v ^ (v >> 27)) * 0x94d049bb133111ebu;
  return v ^ (v >> 31);
}

__device__ float unit(uint32_t bits) { return (static_cast<float>(bits >> 8) + 0.5f) * 0x1p-24f; }  // in (0, 1)

__device__ float normal(uint64_t bits) {  // Box and Muller
  const float radius = sqrtf(-2.f * logf(unit(static_cast<uint32_t>(bits))));
  return radius * cospif(2.f * unit(static_cast<uint32_t>(bits >> 32)));
}

template <class T, class Value>
__global__ void fill(T* data, int64_t count, uint64_t seed, Value value) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride)
    data[i] = value(random_bits(seed, i));
}

struct Code {
  __device__ uint8_t operator()(uint64_t bits) const { return static_cast<uint8_t>(bits & 15); }
};
struct Scale {
  float typical;
  __device__ half operator()(uint64_t bits) const {
    return __float2half_rn(typical * (0.5f + unit(static_cast<uint32_t>(bits))));
  }
};
struct NormalHalf {
  __device__ half operator()(uint64_t bits) const { return __float2half_rn(normal(bits)); }
};
struct NormalBfloat {
  __device__ __nv_bfloat16 operator()(uint64_t bits) const { return __float2bfloat16_rn(normal(bits)); }
};

template <class T, class Value>
void launch_fill(T* data, int64_t count, uint64_t seed, Value value, cudaStream_t stream) {
  fill<<<kBlocks, kThreads, 0, stream>>>(data, count, seed, value);
  check_cuda(cudaGetLastError(), "filling device memory with random values");
}

}  // namespace

void fill_codes(uint8_t* q, int64_t count, uint64_t seed, cudaStream_t stream) {
  launch_fill(q, count, seed, Code{}, stream);
}

void fill_scales(void* scales, int64_t count, float typical, uint64_t seed, cudaStream_t stream) {
  launch_fill(static_cast<half*>(scales), count, seed, Scale{typical}, stream);
}

void fill_normal(void* x, int64_t count, bool bf16, uint64_t seed, cudaStream_t stream) {
  if (bf16)
    launch_fill(static_cast<__nv_bfloat16*>(x), count, seed, NormalBfloat{}, stream);
  else
    launch_fill(static_cast<half*>(x), count, seed, NormalHalf{}, stream);
}

}  // namespace awq::backend::cuda::lab
