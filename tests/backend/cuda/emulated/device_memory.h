// What cudaMalloc and cudaHostAlloc have given out.
#pragma once
#include <cstddef>

namespace awq::emulated {

// Fails in the running thread unless the bytes lie in one allocation, at a multiple of `alignment`.
void check_device_memory(const void*, size_t bytes, size_t alignment, const char* what);

}  // namespace awq::emulated
