// The CUDA runtime, of one emulated GPU: memory and what the device is. What is not here, nobody called yet.
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "backend/cuda/emulated/device_memory.h"
#include "backend/cuda/emulated/grid.h"
#include "backend/cuda/emulated/streams.h"
#include "backend/cuda/emulated/tensor_map.h"

namespace awq::emulated {
namespace {

constexpr int kUnwritten = 0xff;
constexpr int kCapability = AWQ_EMULATED_ARCH / 10, kSms = 4, kSharedOptIn = 227 << 10;

std::mutex lock;
std::map<uintptr_t, size_t> allocations;

cudaError_t allocate(void** out, size_t bytes) {
  *out = nullptr;
  if (bytes == 0) return cudaSuccess;
  void* const memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (memory == nullptr) return cudaErrorMemoryAllocation;
  std::memset(memory, kUnwritten, bytes);
  const std::lock_guard guard(lock);
  allocations[reinterpret_cast<uintptr_t>(memory)] = bytes;
  *out = memory;
  return cudaSuccess;
}

cudaError_t release(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  const std::lock_guard guard(lock);
  if (allocations.erase(reinterpret_cast<uintptr_t>(memory)) == 0) return cudaErrorInvalidValue;
  std::free(memory);
  return cudaSuccess;
}

}  // namespace

void check_device_memory(const void* p, size_t bytes, size_t alignment, const char* what) {
  const auto at = reinterpret_cast<uintptr_t>(p);
  if (at % alignment != 0) fail(std::string(what) + ": the source is no multiple of " + std::to_string(alignment));
  const std::lock_guard guard(lock);
  auto next = allocations.upper_bound(at);
  if (next == allocations.begin() || at + bytes > (--next, next->first + next->second))
    fail(std::string(what) + ": the source is not within an allocation");
}

}  // namespace awq::emulated

using namespace awq::emulated;  // NOLINT: definitions of C functions follow

extern "C" {

cudaError_t cudaMalloc(void** out, size_t bytes) { return allocate(out, bytes); }
cudaError_t cudaFree(void* memory) { return release(memory); }
cudaError_t cudaHostAlloc(void** out, size_t bytes, unsigned) { return allocate(out, bytes); }
cudaError_t cudaFreeHost(void* memory) { return release(memory); }
cudaError_t cudaHostGetDevicePointer(void** out, void* host, unsigned) {
  *out = host;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = *total = size_t{16} << 30;
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return submit(stream, [=] {
    std::memcpy(to, from, bytes);
    return std::string();
  });
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return submit(stream, [=] {
    std::memset(to, value, bytes);
    return std::string();
  });
}
cudaError_t cudaMemset(void* to, int value, size_t bytes) { return cudaMemsetAsync(to, value, bytes, nullptr); }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  static const std::map<cudaDeviceAttr, int> kValues = {{cudaDevAttrComputeCapabilityMajor, kCapability / 10},
                                                        {cudaDevAttrComputeCapabilityMinor, kCapability % 10},
                                                        {cudaDevAttrMultiProcessorCount, kSms},
                                                        {cudaDevAttrMaxSharedMemoryPerBlockOptin, kSharedOptIn},
                                                        {cudaDevAttrCooperativeLaunch, 1}};
  const auto found = kValues.find(attribute);
  if (found == kValues.end()) return cudaErrorNotSupported;
  *value = found->second;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* out, int) {
  *out = {};
  std::strcpy(out->name, "emulated GPU");
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int value) {
  return value <= kSharedOptIn ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* out, const void*) {
  *out = {};
  out->ptxVersion = kCapability;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int, size_t) {
  *blocks = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* found) {
  const bool known = std::strcmp(name, "cuTensorMapEncodeTiled") == 0;
  *function = known ? reinterpret_cast<void*>(&encode_tiled) : nullptr;
  *found = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return known ? cudaSuccess : cudaErrorSymbolNotFound;
}

}  // extern "C"
