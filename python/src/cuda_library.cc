#include "cuda_library.h"

#include <fmt/format.h>

#include <map>
#include <mutex>
#include <utility>

#include "awq/error.h"
#include "backend/cuda/plugin_loader.h"
#include "backend/cuda/shared_library.h"

namespace awq::python {
namespace {

constexpr int kOutOfMemory = 2;  // CUDA_ERROR_OUT_OF_MEMORY

template <class Function>
void take(void* library, const char* file, const char* name, Function& function) {
  if (!backend::cuda::load_symbol(library, name, function))
    throw Error(ErrorKind::kDevice, fmt::format("{} has no {}: install the one of this build", file, name));
}

void* opened(const char* file, int flags) {
  if (void* library = dlopen(file, flags)) return library;
  throw Error(ErrorKind::kDevice, fmt::format("cannot open {}; awq_cpp.devices() says what is missing", file));
}

CudaLibrary open_both() {
  CudaLibrary all;
  const char* plugin = "libawq_cuda.so";
  backend::cuda::plugin();  // finds it, checks its version, and has a sentence for each way in which that fails
  void* kernels = opened(plugin, RTLD_NOLOAD | RTLD_NOW);
  take(kernels, plugin, "awq_cuda_layout_bytes", all.layout_bytes);
  take(kernels, plugin, "awq_cuda_repack", all.repack);
  take(kernels, plugin, "awq_cuda_dequantize", all.dequantize);
  take(kernels, plugin, "awq_cuda_select", all.select);
  take(kernels, plugin, "awq_cuda_workspace_bytes", all.workspace_bytes);
  take(kernels, plugin, "awq_cuda_forward", all.forward);
  const char* driver = "libcuda.so.1";
  void* cuda = opened(driver, RTLD_NOW);
  take(cuda, driver, "cuInit", all.init);
  take(cuda, driver, "cuDeviceGet", all.device);
  take(cuda, driver, "cuDevicePrimaryCtxRetain", all.retain_context);
  take(cuda, driver, "cuCtxGetCurrent", all.current_context);
  take(cuda, driver, "cuCtxPushCurrent_v2", all.push_context);
  take(cuda, driver, "cuCtxPopCurrent_v2", all.pop_context);
  take(cuda, driver, "cuCtxSynchronize", all.synchronize);
  take(cuda, driver, "cuStreamSynchronize", all.synchronize_stream);
  take(cuda, driver, "cuMemAlloc_v2", all.allocate);
  take(cuda, driver, "cuMemFree_v2", all.release);
  take(cuda, driver, "cuMemAllocAsync", all.allocate_async);
  take(cuda, driver, "cuMemFreeAsync", all.release_async);
  take(cuda, driver, "cuMemcpyHtoDAsync_v2", all.to_device);
  take(cuda, driver, "cuMemcpyDtoHAsync_v2", all.to_host);
  take(cuda, driver, "cuGetErrorString", all.error_string);
  return all;
}

// Retained until the process ends, as the runtime does.
CudaContext primary_context(int ordinal) {
  static std::mutex mutex;
  static std::map<int, CudaContext> contexts;
  const std::lock_guard lock(mutex);
  if (const auto found = contexts.find(ordinal); found != contexts.end()) return found->second;
  int device = 0;
  CudaContext context = nullptr;
  check_driver(cuda_library().init(0), "starting the driver");
  check_driver(cuda_library().device(&device, ordinal), "looking up the GPU");
  check_driver(cuda_library().retain_context(&context, device), "opening the GPU");
  return contexts[ordinal] = context;
}

}  // namespace

const CudaLibrary& cuda_library() {
  static const CudaLibrary library = open_both();
  return library;
}

void check_driver(int result, const char* doing) {
  if (result == 0) return;
  const char* words = nullptr;
  cuda_library().error_string(result, &words);
  throw Error(result == kOutOfMemory ? ErrorKind::kNoRoom : ErrorKind::kDevice,
              fmt::format("{}: {} (CUDA error {})", doing, words == nullptr ? "no reason given" : words, result));
}

void check_call(awq_cuda_status status, const awq_cuda_message& message) {
  if (status == AWQ_CUDA_OK) return;
  const bool hardware = status == AWQ_CUDA_NOT_SUPPORTED || status == AWQ_CUDA_FAILED;
  throw Error(hardware ? ErrorKind::kDevice : ErrorKind::kUsage, message.text);
}

OnDevice::OnDevice(int ordinal) {
  const CudaContext wanted = primary_context(ordinal);
  CudaContext current = nullptr;
  check_driver(cuda_library().current_context(&current), "asking for the current GPU");
  if (current == wanted) return;
  check_driver(cuda_library().push_context(wanted), "switching to the GPU");
  pushed_ = true;
}

OnDevice::~OnDevice() {
  CudaContext popped = nullptr;
  if (pushed_) cuda_library().pop_context(&popped);
}

DeviceMemory::DeviceMemory(int ordinal, size_t bytes) : ordinal_(ordinal), bytes_(bytes) {
  if (bytes == 0) return;
  const OnDevice scope(ordinal);
  check_driver(cuda_library().allocate(&pointer_, bytes), "allocating memory of the GPU");
}

DeviceMemory::DeviceMemory(int ordinal, const void* host, size_t bytes) : DeviceMemory(ordinal, bytes) {
  if (bytes == 0) return;
  const OnDevice scope(ordinal);
  check_driver(cuda_library().to_device(pointer_, host, bytes, nullptr), "copying to the GPU");
  check_driver(cuda_library().synchronize_stream(nullptr), "copying to the GPU");
}

DeviceMemory::DeviceMemory(DeviceMemory&& other) noexcept
    : ordinal_(other.ordinal_), pointer_(std::exchange(other.pointer_, 0)), bytes_(std::exchange(other.bytes_, 0)) {}

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  std::swap(ordinal_, other.ordinal_);
  std::swap(pointer_, other.pointer_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

DeviceMemory::~DeviceMemory() {
  if (pointer_ == 0) return;
  try {
    const OnDevice scope(ordinal_);
    cuda_library().release(pointer_);  // waits for what still reads it
  } catch (const Error&) {             // a device that is gone has nothing to give back
  }
}

}  // namespace awq::python
