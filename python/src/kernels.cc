// awq_cpp.kernels: pack() once, then linear(), gemm() and gemv() as often as one likes.
#include <fmt/format.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>

#include <algorithm>
#include <map>

#include "awq/error.h"
#include "format/registry.h"
#include "module.h"
#include "packed_linear.h"

namespace awq::python {
namespace {

using namespace nb::literals;
using HostArray = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;

struct Size {
  int64_t n, k;
};

// Features by the shape of qweight: each layout packs 8 codes a word, gemv_fast 4 rows beside each other.
struct PackedShape {
  const char* layout;
  Size (*size)(int64_t rows, int64_t cols);
};
constexpr PackedShape kPackedShapes[] = {
    {"plain",
     [](int64_t rows, int64_t cols) {
       return Size{rows, cols};
     }},
    {"gemm",
     [](int64_t rows, int64_t cols) {
       return Size{cols * 8, rows};
     }},
    {"gemv",
     [](int64_t rows, int64_t cols) {
       return Size{rows, cols * 8};
     }},
    {"gemv_fast",
     [](int64_t rows, int64_t cols) {
       return Size{rows * 4, cols};
     }},
};

Size size_of(const std::string& layout, const HostArray& qweight) {
  std::string names;
  for (const PackedShape& row : kPackedShapes) {
    if (layout == row.layout && qweight.ndim() == 2)
      return row.size(static_cast<int64_t>(qweight.shape(0)), static_cast<int64_t>(qweight.shape(1)));
    names += (names.empty() ? "" : ", ") + std::string(row.layout);
  }
  throw Error(ErrorKind::kUsage, fmt::format("layout '{}' of a {}-dimensional qweight: choose {}, with 2 dimensions",
                                             layout, qweight.ndim(), names));
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

format::EncodedTensor encoded(const char* suffix, const HostArray& array) {
  using Code = nb::dlpack::dtype_code;
  const auto is = [&](Code code, int bits) {
    return array.dtype().code == static_cast<uint8_t>(code) && array.dtype().bits == bits;
  };
  format::EncodedTensor tensor;
  tensor.suffix = suffix;
  if (is(Code::Int, 32) || is(Code::UInt, 32))
    tensor.dtype = Dtype::kI32;
  else if (is(Code::Int, 16))
    tensor.dtype = Dtype::kI16;
  else if (is(Code::Float, 16))
    tensor.dtype = Dtype::kF16;
  else if (is(Code::UInt, 8))
    tensor.dtype = Dtype::kU8;
  else
    throw nb::type_error("qweight, qzeros: int32, int16, or uint8 for the layout plain; scales, bias: float16");
  for (size_t i = 0; i < array.ndim(); ++i) tensor.shape.push_back(static_cast<int64_t>(array.shape(i)));
  const auto* bytes = static_cast<const std::byte*>(array.data());
  tensor.bytes.assign(bytes, bytes + array.nbytes());
  return tensor;
}

template <class T>
std::vector<T> values(const format::EncodedTensor& tensor, Dtype dtype, std::vector<int64_t> shape) {
  if (tensor.dtype != dtype || tensor.shape != shape)
    throw Error(ErrorKind::kBadInput,
                fmt::format("{}: expected {} elements of another type or shape; layout plain is uint8 "
                            "(n, k), uint8 (n, k / group_size) and float16 (n, k / group_size)",
                            tensor.suffix, shape[0] * shape.back()));
  std::vector<T> out(tensor.bytes.size() / sizeof(T));
  std::memcpy(out.data(), tensor.bytes.data(), tensor.bytes.size());
  return out;
}

using Arrays = std::map<std::string, format::EncodedTensor, std::less<>>;

format::QuantizedLinear decoded_plain(const Arrays& arrays, Size size, int group) {
  format::QuantizedLinear linear;
  linear.n = size.n;
  linear.k = size.k;
  linear.group = group;
  linear.q = values<uint8_t>(arrays.at("qweight"), Dtype::kU8, {size.n, size.k});
  linear.zeros = values<uint8_t>(arrays.at("qzeros"), Dtype::kU8, {size.n, size.k / group});
  linear.scales = values<f16_t>(arrays.at("scales"), Dtype::kF16, {size.n, size.k / group});
  const auto too_large = [](uint8_t code) { return code > 15; };
  if (std::ranges::any_of(linear.q, too_large) || std::ranges::any_of(linear.zeros, too_large))
    throw Error(ErrorKind::kBadInput, "qweight, qzeros: codes of 4 bits are 0 to 15");
  if (const auto bias = arrays.find("bias"); bias != arrays.end())
    linear.bias = values<f16_t>(bias->second, Dtype::kF16, {size.n});
  return linear;
}

format::QuantizedLinear decoded(const std::string& layout, const Arrays& arrays, Size size, int group) {
  if (group <= 0 || size.k % group != 0)
    throw Error(ErrorKind::kUsage, fmt::format("group_size {} does not divide the {} input features", group, size.k));
  if (layout == "plain") return decoded_plain(arrays, size, group);
  const format::TensorSource source = [&](std::string_view suffix) {
    const auto found = arrays.find(suffix);
    return found == arrays.end() ? nullptr : &found->second;
  };
  return format::find_layout(layout)->decode(source, size.n, size.k, group);
}

std::unique_ptr<PackedLinear> pack(const HostArray& qweight, const HostArray& qzeros, const HostArray& scales,
                                   const std::string& layout_name, int group_size, const std::optional<HostArray>& bias,
                                   const std::string& device) {
  const std::string layout = lower(layout_name);
  const Size size = size_of(layout, qweight);
  Arrays arrays{{"qweight", encoded("qweight", qweight)},
                {"qzeros", encoded("qzeros", qzeros)},
                {"scales", encoded("scales", scales)}};
  if (bias) arrays.emplace("bias", encoded("bias", *bias));
  const format::QuantizedLinear linear =
      decoded(layout, arrays, size, group_size == -1 ? static_cast<int>(size.k) : group_size);
  if (device != "cpu") throw Error(ErrorKind::kUsage, "device '" + device + "': not yet");
  return pack_for_cpu(linear);
}

nb::object linear(nb::handle x, PackedLinear& packed, const char* version, nb::handle out, nb::handle stream) {
  return packed.forward(x, version, out, stream);
}
template <const char* const& kVersion>
nb::object linear_by(nb::handle x, PackedLinear& packed, nb::handle out, nb::handle stream) {
  return packed.forward(x, kVersion, out, stream);
}
constexpr const char* kGemm = "gemm";
constexpr const char* kGemv = "gemv";

constexpr const char* kPackDoc =
    "A quantized linear, repacked once for the kernels of a device.\n\n"
    "`qweight`, `qzeros`, `scales` are as a checkpoint stores them in `layout` ('gemm', 'gemv', 'gemv_fast'), or "
    "'plain': "
    "one code a byte, uint8 (n, k), zero points uint8 (n, k / group_size), scales float16 (n, k / group_size). "
    "`group_size=-1` is one group a row. `bias` is float16 (n).";
constexpr const char* kLinearDoc =
    "y (..., n) = x (..., k) W' + bias. `version` is 'auto', 'gemm', 'gemv' or a kernel's name.\n\n"
    "On the CPU x is a numpy array or CPU tensor of float32, float16 or bfloat16, and y is of the same type; sums are "
    "float32. `out` receives the result where it is given. Raises DeviceError where the hardware cannot run the "
    "version.";

}  // namespace

void bind_kernels(nb::module_& m) {
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
      .def("dequantize", &PackedLinear::dequantized, "W (n, k) as the kernels see it.")
      .def("__repr__", [](const PackedLinear& p) {
        return fmt::format("<awq_cpp.PackedLinear n={} k={} group_size={} on {}>", p.n(), p.k(), p.group(), p.device());
      });
  m.def("pack", &pack, "qweight"_a, "qzeros"_a, "scales"_a, "layout"_a = "gemm", nb::kw_only(), "group_size"_a = 128,
        "bias"_a = nb::none(), "device"_a = "cpu", kPackDoc);
  m.def("linear", &linear, "x"_a, "packed"_a, "version"_a = "auto", nb::kw_only(), "out"_a = nb::none(),
        "stream"_a = nb::none(), kLinearDoc);
  m.def("gemm", &linear_by<kGemm>, "x"_a, "packed"_a, nb::kw_only(), "out"_a = nb::none(), "stream"_a = nb::none(),
        "linear() with version 'gemm': many tokens at once.");
  m.def("gemv", &linear_by<kGemv>, "x"_a, "packed"_a, nb::kw_only(), "out"_a = nb::none(), "stream"_a = nb::none(),
        "linear() with version 'gemv': one token, or a few.");
}

}  // namespace awq::python
