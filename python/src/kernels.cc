// awq_cpp.kernels: pack() once, then linear(), gemm() and gemv() as often as one likes.
#include <fmt/format.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>

#include "module.h"
#include "packing.h"

namespace awq::python {
namespace {

using namespace nb::literals;

constexpr const char* kGemm = "gemm";
constexpr const char* kGemv = "gemv";

nb::object linear(nb::handle x, PackedLinear& packed, const char* version, nb::handle out, nb::handle stream) {
  return packed.forward(x, version, out, stream);
}
template <const char* const& kVersion>
nb::object linear_by(nb::handle x, PackedLinear& packed, nb::handle out, nb::handle stream) {
  return packed.forward(x, kVersion, out, stream);
}

constexpr const char* kPackDoc =
    "A quantized linear, repacked once for the kernels of a device.\n\n"
    "`qweight`, `qzeros`, `scales` are as a checkpoint stores them in `layout` ('gemm', 'gemv', 'gemv_fast'), or "
    "'plain': one code a byte, uint8 (n, k), zero points uint8 (n, k / group_size), scales float16 (n, k / "
    "group_size). `group_size=-1` is one group a row. `bias` is float16 (n). `device` is 'auto' (where the arrays "
    "are), 'cpu', 'cuda' or 'cuda:1'. Arrays on a GPU are repacked there, without a look at the codes: check files "
    "that you do not trust with inspect() first.";
constexpr const char* kLinearDoc =
    "y (..., n) = x (..., k) W' + bias. `version` is 'auto', 'gemm', 'gemv' or a kernel's name.\n\n"
    "On the CPU x is a numpy array or CPU tensor of float32, float16 or bfloat16; sums are float32. On a GPU it is a "
    "tensor of torch, or an array that speaks DLPack, of float16 or bfloat16. y is of x's type and library; `out` "
    "receives it where given. `stream`, a number or a stream of torch or cupy, is torch's current one for its "
    "tensors and otherwise the default stream. A call may be captured in a CUDA graph after one like it on the same "
    "stream. Raises DeviceError where the hardware cannot run the version.";

void bind_packed_linear(nb::module_& m) {
  nb::class_<PackedLinear>(m, "PackedLinear",
                           "A quantized linear that is ready for the kernels of one device; see pack().")
      .def_prop_ro("n", &PackedLinear::n, "output features")
      .def_prop_ro("k", &PackedLinear::k, "input features")
      .def_prop_ro("group_size", &PackedLinear::group)
      .def_prop_ro("device", &PackedLinear::device, "'cpu', 'cuda:0'")
      .def_prop_ro("bytes", &PackedLinear::bytes, "of weights, scales and zero points")
      .def(
          "kernel_for",
          [](const PackedLinear& p, int64_t tokens, const std::string& version, bool bf16) {
            return p.kernel_for(tokens, version.c_str(), bf16);
          },
          "m"_a, "version"_a = "auto", "bf16"_a = false, "Name of the kernel that m tokens would run on.")
      .def("dequantize", &PackedLinear::dequantized,
           "W (n, k) as the kernels see it: float32 in host memory, float16 on a GPU.")
      .def("__repr__", [](const PackedLinear& p) {
        return fmt::format("<awq_cpp.PackedLinear n={} k={} group_size={} on {}>", p.n(), p.k(), p.group(), p.device());
      });
}

}  // namespace

void bind_kernels(nb::module_& m) {
  bind_packed_linear(m);
  m.def(
      "pack",
      [](nb::handle qweight, nb::handle qzeros, nb::handle scales, const std::string& layout, int group_size,
         nb::handle bias, const std::string& device) {
        return pack({qweight, qzeros, scales, bias}, layout, group_size, device);
      },
      "qweight"_a, "qzeros"_a, "scales"_a, "layout"_a = "gemm", nb::kw_only(), "group_size"_a = 128,
      "bias"_a = nb::none(), "device"_a = "auto", kPackDoc);
  m.def("linear", &linear, "x"_a, "packed"_a, "version"_a = "auto", nb::kw_only(), "out"_a = nb::none(),
        "stream"_a = nb::none(), kLinearDoc);
  m.def("gemm", &linear_by<kGemm>, "x"_a, "packed"_a, nb::kw_only(), "out"_a = nb::none(), "stream"_a = nb::none(),
        "linear() with version 'gemm': many tokens at once.");
  m.def("gemv", &linear_by<kGemv>, "x"_a, "packed"_a, nb::kw_only(), "out"_a = nb::none(), "stream"_a = nb::none(),
        "linear() with version 'gemv': one token, or a few.");
  m.def("to_device", &to_device, "array"_a, "device"_a = "cuda",
        "A float16 array of numpy as an array on a GPU that speaks DLPack.");
  m.def("to_host", &to_host, "array"_a, "A float16 array on a GPU as one of numpy, when all that makes it is done.");
}

}  // namespace awq::python
