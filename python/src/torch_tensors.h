// torch's tensors, through their methods: a call on a small linear lasts microseconds, and a trip through DLPack would
// cost as much. torch is not imported here; it is there when somebody passes a tensor.
#pragma once
#include <nanobind/nanobind.h>

#include "device_array.h"

namespace awq::python {

class TorchTensors {
 public:
  // Null for an object that is not a tensor of torch.
  static const TorchTensors* of(nb::handle x);

  DeviceView view(nb::handle x) const;  // without the stream
  CudaStream current_stream(int ordinal) const;
  nb::object empty_like(nb::handle x, int64_t cols, void*& data) const;

 private:
  explicit TorchTensors(nb::handle torch);
  nb::object tensor_, float16_, bfloat16_, raw_stream_;
};

}  // namespace awq::python
