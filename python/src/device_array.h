// Arrays on a GPU as a call sees them, whichever library they are of.
#pragma once
#include <nanobind/ndarray.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cuda_library.h"

namespace awq::python {

namespace nb = nanobind;

// A tensor's address and type, borrowed for the length of a call.
struct DeviceView {
  void* data = nullptr;
  int ordinal = 0;  // of the GPU
  awq_cuda_type type = AWQ_CUDA_F16;
  int64_t rows = 0, cols = 0;  // all dimensions but the last, the last
  CudaStream stream = nullptr;
};

// x as the kernels need it: on a GPU, contiguous, float16 or bfloat16. TypeError says what it is not. `stream`: None
// for the current one of torch, or the default stream; a number, or an object of torch or cupy.
DeviceView view_of(nb::handle x, nb::handle stream);

// An empty array like x with `cols` in its last dimension: torch's for its tensors, else one that speaks DLPack.
nb::object empty_like(nb::handle x, const DeviceView& view, int64_t cols, void*& data);

// A new array of our own on a GPU, ordered on `stream`; float16 unless `bf16`.
nb::object new_device_array(int ordinal, std::span<const size_t> shape, bool bf16, CudaStream stream, void*& data);

// float16 arrays between numpy and a GPU, complete on return: for those who have no array library for GPUs.
nb::object to_device(nb::handle array, const std::string& device);
nb::object to_host(nb::handle array);

// Number of the GPU: "cuda", "cuda:1".
int gpu_named(const std::string& device);

}  // namespace awq::python
