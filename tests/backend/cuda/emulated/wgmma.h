// What translate.py puts in the place of wgmma.mma_async.
#pragma once
#include <cstdint>

namespace awq::emulated {

// d += a b, or d = a b; `d` is written when the thread waits for its group.
void multiply_group(float* d, int sums, const uint32_t* a, uint64_t b, bool accumulate, const char* type);

template <int kSums>
void multiply_group(float (&d)[kSums], const uint32_t (&a)[4], uint64_t b, int accumulate, const char* type) {
  multiply_group(d, kSums, a, b, accumulate != 0, type);
}

}  // namespace awq::emulated
