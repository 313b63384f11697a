// A quantized linear that is ready for the kernels of one device: what awq_cpp.kernels.pack() returns.
#pragma once
#include <nanobind/nanobind.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "awq/cuda.h"
#include "device_array.h"
#include "format/quantized_linear.h"

namespace awq::python {

namespace nb = nanobind;

class PackedLinear {
 public:
  PackedLinear(int64_t n, int64_t k, int group) : n_(n), k_(k), group_(group) {}
  virtual ~PackedLinear() = default;
  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  int group() const { return group_; }

  virtual std::string device() const = 0;  // "cpu", "cuda:0"
  virtual uint64_t bytes() const = 0;      // of weights, scales and zero points
  virtual std::string kernel_for(int64_t m, const char* version, bool bf16) const = 0;
  // y (..., n) = x (..., k) W' + bias, in the array library of x, or into `out` where that is not None.
  virtual nb::object forward(nb::handle x, const char* version, nb::handle out, nb::handle stream) = 0;
  virtual nb::object dequantized() const = 0;  // W (n, k)

 private:
  int64_t n_, k_;
  int group_;
};

std::unique_ptr<PackedLinear> pack_for_cpu(const format::QuantizedLinear&);
std::unique_ptr<PackedLinear> pack_for_cuda(int ordinal, const format::QuantizedLinear&);

// A checkpoint's arrays that lie on a GPU already.
struct DeviceArrays {
  int ordinal = 0;
  awq_cuda_layout layout = AWQ_CUDA_LAYOUT_PLAIN;
  const void *qweight = nullptr, *qzeros = nullptr, *scales = nullptr, *bias = nullptr;
};
std::unique_ptr<PackedLinear> pack_on_cuda(const DeviceArrays&, int64_t n, int64_t k, int group);

}  // namespace awq::python
