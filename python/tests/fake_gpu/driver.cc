// A libcuda.so.1 whose device memory is host memory: for tests of the Python half of awq_cpp.kernels where there is no
// GPU. Every call is checked for what the real driver would not forgive: a context must be current, memory is freed
// once.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <set>

namespace {

constexpr int kOutOfMemory = 2, kInvalidValue = 1, kInvalidContext = 201;
constexpr size_t kMemory = size_t{1} << 30;

int g_context_0 = 0, g_context_1 = 1;  // addresses are what counts
thread_local void* g_stack[8];
thread_local int g_depth = 0;
std::set<uint64_t> g_allocated;

bool has_context() { return g_depth > 0; }

int allocate(uint64_t* pointer, size_t bytes) {
  if (!has_context()) return kInvalidContext;
  if (bytes == 0) return kInvalidValue;
  if (bytes > kMemory) return kOutOfMemory;
  *pointer = reinterpret_cast<uint64_t>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  g_allocated.insert(*pointer);
  return 0;
}

int release(uint64_t pointer) {
  if (!has_context()) return kInvalidContext;
  if (g_allocated.erase(pointer) == 0) return kInvalidValue;
  std::free(reinterpret_cast<void*>(pointer));
  return 0;
}

}  // namespace

extern "C" {

int fake_allocations() { return static_cast<int>(g_allocated.size()); }

int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int* version) { return *version = 13000, 0; }
int cuDeviceGetCount(int* count) { return *count = 2, 0; }
int cuDeviceGet(int* handle, int ordinal) { return *handle = ordinal, ordinal < 2 ? 0 : 101; }
int cuDeviceGetName(char* name, int, int) { return std::strcpy(name, "Fake"), 0; }
int cuDeviceGetAttribute(int* value, int attribute, int) {
  return *value = attribute == 75 ? 9 : attribute == 76 ? 0 : attribute == 20 ? 0 : 132, 0;
}
int cuDevicePrimaryCtxRetain(void** context, int device) {
  return *context = device == 0 ? &g_context_0 : &g_context_1, 0;
}
int cuCtxGetCurrent(void** context) { return *context = has_context() ? g_stack[g_depth - 1] : nullptr, 0; }
int cuCtxPushCurrent_v2(void* context) { return g_stack[g_depth++] = context, 0; }
int cuCtxPopCurrent_v2(void** context) { return has_context() ? (*context = g_stack[--g_depth], 0) : kInvalidContext; }
int cuCtxSynchronize() { return has_context() ? 0 : kInvalidContext; }
int cuStreamSynchronize(void*) { return has_context() ? 0 : kInvalidContext; }
int cuMemAlloc_v2(uint64_t* pointer, size_t bytes) { return allocate(pointer, bytes); }
int cuMemFree_v2(uint64_t pointer) { return release(pointer); }
int cuMemAllocAsync(uint64_t* pointer, size_t bytes, void*) { return allocate(pointer, bytes); }
int cuMemFreeAsync(uint64_t pointer, void*) { return release(pointer); }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void*) {
  return has_context() ? (std::memcpy(reinterpret_cast<void*>(to), from, bytes), 0) : kInvalidContext;
}
int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void*) {
  return has_context() ? (std::memcpy(to, reinterpret_cast<const void*>(from), bytes), 0) : kInvalidContext;
}
int cuGetErrorString(int result, const char** words) {
  return *words = result == kOutOfMemory ? "out of memory" : "invalid argument", 0;
}

}  // extern "C"
