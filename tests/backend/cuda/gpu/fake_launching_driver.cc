// A driver of five functions for the test of lose_device.cc: launches and waits that succeed, found as the real ones
// are.
#include <cuda.h>

#include <cstring>

extern "C" {

CUresult fake_wait(CUstream) { return CUDA_SUCCESS; }
CUresult fake_thread_wait(CUstream) { return CUDA_SUCCESS; }
CUresult fake_launch(CUgraphExec, CUstream) { return CUDA_SUCCESS; }

CUresult cuGetProcAddress_v2(const char* name, void** found, int, cuuint64_t flags, CUdriverProcAddressQueryResult*) {
  const bool a_thread = (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) != 0;
  *found = nullptr;
  if (std::strcmp(name, "cuStreamSynchronize") == 0)
    *found = reinterpret_cast<void*>(a_thread ? &fake_thread_wait : &fake_wait);
  if (std::strcmp(name, "cuGraphLaunch") == 0) *found = reinterpret_cast<void*>(&fake_launch);
  if (std::strcmp(name, "cuGetProcAddress") == 0) *found = reinterpret_cast<void*>(&cuGetProcAddress_v2);
  return *found == nullptr ? CUDA_ERROR_NOT_FOUND : CUDA_SUCCESS;
}
}
