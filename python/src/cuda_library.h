// What the CUDA half of awq_cpp.kernels calls: the C interface of libawq_cuda.so (awq/cuda.h), and the few functions of
// the driver for memory. Both are opened when first asked for, so that the module loads where there is neither.
#pragma once
#include <cstddef>
#include <cstdint>

#include "awq/cuda.h"

namespace awq::python {

using CudaContext = void*;  // CUcontext
using CudaStream = void*;   // CUstream; null: the default stream
using DevicePointer = uint64_t;

struct CudaLibrary {
  decltype(&awq_cuda_layout_bytes) layout_bytes = nullptr;
  decltype(&awq_cuda_repack) repack = nullptr;
  decltype(&awq_cuda_dequantize) dequantize = nullptr;
  decltype(&awq_cuda_select) select = nullptr;
  decltype(&awq_cuda_workspace_bytes) workspace_bytes = nullptr;
  decltype(&awq_cuda_forward) forward = nullptr;

  int (*init)(unsigned flags) = nullptr;
  int (*device)(int* handle, int ordinal) = nullptr;
  int (*retain_context)(CudaContext*, int device) = nullptr;
  int (*current_context)(CudaContext*) = nullptr;
  int (*push_context)(CudaContext) = nullptr;
  int (*pop_context)(CudaContext*) = nullptr;
  int (*synchronize)() = nullptr;  // all that the context has to do
  int (*synchronize_stream)(CudaStream) = nullptr;
  int (*allocate)(DevicePointer*, size_t) = nullptr;
  int (*release)(DevicePointer) = nullptr;
  int (*allocate_async)(DevicePointer*, size_t, CudaStream) = nullptr;
  int (*release_async)(DevicePointer, CudaStream) = nullptr;
  int (*to_device)(DevicePointer, const void*, size_t, CudaStream) = nullptr;
  int (*to_host)(void*, DevicePointer, size_t, CudaStream) = nullptr;
  int (*error_string)(int, const char**) = nullptr;
};

// Error(kDevice) with the reason when there is no plugin or no driver.
const CudaLibrary& cuda_library();

// Error(kDevice), or kNoRoom when memory is what is missing, with the driver's words.
void check_driver(int result, const char* doing);
// The same for a status of the C interface: "Kernel version not supported on this hardware: ..." and what else it says.
void check_call(awq_cuda_status, const awq_cuda_message&);

// Makes the primary context of a GPU current for a scope, as the runtime and torch use it.
class OnDevice {
 public:
  explicit OnDevice(int ordinal);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  bool pushed_ = false;
};

// Memory of a GPU for as long as the object lives.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(int ordinal, size_t bytes);
  DeviceMemory(int ordinal, const void* host, size_t bytes);  // a copy, complete on return
  DeviceMemory(DeviceMemory&&) noexcept;
  DeviceMemory& operator=(DeviceMemory&&) noexcept;
  ~DeviceMemory();
  void* data() const { return reinterpret_cast<void*>(pointer_); }
  size_t bytes() const { return bytes_; }

 private:
  int ordinal_ = 0;
  DevicePointer pointer_ = 0;
  size_t bytes_ = 0;
};

}  // namespace awq::python
