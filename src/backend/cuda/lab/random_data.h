// Random contents made on the device: element i depends on the seed and i alone, so a longer array starts with the
// shorter one. Never zeros: a kernel that skips work, and a power limit that random bits reach sooner, would not show.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

namespace awq::backend::cuda::lab {

void fill_codes(uint8_t* q, int64_t count, uint64_t seed, cudaStream_t);  // 0..15, one a byte

// f16 in [0.5, 1.5) * typical.
void fill_scales(void* scales, int64_t count, float typical, uint64_t seed, cudaStream_t);

// Normal with mean 0 and deviation 1, f16 or bf16.
void fill_normal(void* x, int64_t count, bool bf16, uint64_t seed, cudaStream_t);

}  // namespace awq::backend::cuda::lab
