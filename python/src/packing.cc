#include "packing.h"

#include <fmt/format.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <map>
#include <optional>

#include "awq/error.h"
#include "format/registry.h"

namespace awq::python {
namespace {

using AnyArray = nb::ndarray<nb::ro, nb::c_contig>;
using Arrays = std::map<std::string, AnyArray, std::less<>>;  // by suffix: "qweight", ... , "bias" where there is one
using Code = nb::dlpack::dtype_code;

constexpr const char* kPlain = "plain";  // one code a byte: what the layouts of files are made of, and no file holds

struct CudaLayout {
  std::string_view name;
  awq_cuda_layout layout;
};
constexpr CudaLayout kCudaLayouts[] = {{kPlain, AWQ_CUDA_LAYOUT_PLAIN},
                                       {"gemm", AWQ_CUDA_LAYOUT_GEMM},
                                       {"gemv", AWQ_CUDA_LAYOUT_GEMV},
                                       {"gemv_fast", AWQ_CUDA_LAYOUT_GEMV_FAST}};

const CudaLayout& layout_row(std::string name) {
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto row = std::ranges::find(kCudaLayouts, name, &CudaLayout::name);
  if (row != std::end(kCudaLayouts)) return *row;
  throw Error(ErrorKind::kUsage, fmt::format("unknown layout '{}': choose plain, gemm, gemv, gemv_fast", name));
}

AnyArray array_of(const char* name, nb::handle object) {
  AnyArray array;
  if (nb::try_cast(object, array)) return array;
  throw nb::type_error(fmt::format("{}: expected an array of numpy, torch, or one that speaks DLPack", name).c_str());
}

Arrays arrays_of(const PackArrays& given) {
  Arrays arrays{{"qweight", array_of("qweight", given.qweight)},
                {"qzeros", array_of("qzeros", given.qzeros)},
                {"scales", array_of("scales", given.scales)}};
  if (!given.bias.is_none()) arrays.emplace("bias", array_of("bias", given.bias));
  return arrays;
}

std::vector<int64_t> shape_of(const AnyArray& array) {
  std::vector<int64_t> shape;
  for (size_t i = 0; i < array.ndim(); ++i) shape.push_back(static_cast<int64_t>(array.shape(i)));
  return shape;
}

format::LinearSize size_of(std::string_view layout, const AnyArray& qweight) {
  const std::vector<int64_t> shape = shape_of(qweight);
  if (shape.size() != 2)
    throw Error(ErrorKind::kUsage, fmt::format("qweight has {} dimensions, a linear has 2", shape.size()));
  if (layout == kPlain) return {shape[0], shape[1]};
  return format::find_layout(layout)->size(shape[0], shape[1]);
}

bool is_type(const AnyArray& array, Code code, int bits) {
  return array.dtype().code == static_cast<uint8_t>(code) && array.dtype().bits == bits;
}

Dtype dtype_of(const AnyArray& array) {
  if (is_type(array, Code::Int, 32) || is_type(array, Code::UInt, 32)) return Dtype::kI32;
  if (is_type(array, Code::Int, 16)) return Dtype::kI16;
  if (is_type(array, Code::Float, 16)) return Dtype::kF16;
  if (is_type(array, Code::UInt, 8)) return Dtype::kU8;
  throw nb::type_error("qweight, qzeros: int32, int16, or uint8 for the layout plain; scales, bias: float16");
}

format::EncodedTensor encoded(const std::string& suffix, const AnyArray& array) {
  format::EncodedTensor tensor{suffix, dtype_of(array), shape_of(array), {}};
  const auto* bytes = static_cast<const std::byte*>(array.data());
  tensor.bytes.assign(bytes, bytes + array.nbytes());
  return tensor;
}

// What the layout plain is to hold, by suffix.
void check_plain(const Arrays& arrays, format::LinearSize size, int group) {
  const std::vector<int64_t> groups{size.n, size.k / group};
  const struct {
    const char* suffix;
    Dtype dtype;
    std::vector<int64_t> shape;
  } wanted[] = {{"qweight", Dtype::kU8, {size.n, size.k}},
                {"qzeros", Dtype::kU8, groups},
                {"scales", Dtype::kF16, groups},
                {"bias", Dtype::kF16, {size.n}}};
  for (const auto& row : wanted)
    if (const auto found = arrays.find(row.suffix);
        found != arrays.end() && (dtype_of(found->second) != row.dtype || shape_of(found->second) != row.shape))
      throw Error(
          ErrorKind::kBadInput,
          fmt::format("{}: layout plain has uint8 qweight (n, k), uint8 qzeros and float16 scales (n, k / group_size), "
                      "float16 bias (n); here n = {}, k = {}, group_size {}",
                      row.suffix, size.n, size.k, group));
}

template <class T>
std::vector<T> values(const AnyArray& array) {
  std::vector<T> out(array.nbytes() / sizeof(T));
  std::memcpy(out.data(), array.data(), array.nbytes());
  return out;
}

format::QuantizedLinear decoded_plain(const Arrays& arrays, format::LinearSize size, int group) {
  format::QuantizedLinear linear;
  linear.n = size.n;
  linear.k = size.k;
  linear.group = group;
  linear.q = values<uint8_t>(arrays.at("qweight"));
  linear.zeros = values<uint8_t>(arrays.at("qzeros"));
  linear.scales = values<f16_t>(arrays.at("scales"));
  if (const auto bias = arrays.find("bias"); bias != arrays.end()) linear.bias = values<f16_t>(bias->second);
  const auto too_large = [](uint8_t code) { return code > 15; };
  if (std::ranges::any_of(linear.q, too_large) || std::ranges::any_of(linear.zeros, too_large))
    throw Error(ErrorKind::kBadInput, "qweight, qzeros: codes of 4 bits are 0 to 15");
  return linear;
}

format::QuantizedLinear decoded(std::string_view layout, const Arrays& arrays, format::LinearSize size, int group) {
  if (layout == kPlain) return decoded_plain(arrays, size, group);
  std::map<std::string, format::EncodedTensor, std::less<>> tensors;
  for (const auto& [suffix, array] : arrays) tensors.emplace(suffix, encoded(suffix, array));
  const format::TensorSource source = [&](std::string_view suffix) {
    const auto found = tensors.find(suffix);
    return found == tensors.end() ? nullptr : &found->second;
  };
  return format::find_layout(layout)->decode(source, size.n, size.k, group);
}

// The device that all arrays are on: nothing for host memory, else the number of the GPU.
std::optional<int> home_of(const Arrays& arrays) {
  const AnyArray& first = arrays.at("qweight");
  for (const auto& [suffix, array] : arrays)
    if (array.device_type() != first.device_type() || array.device_id() != first.device_id())
      throw Error(ErrorKind::kUsage, fmt::format("{} is on another device than qweight: move them to one", suffix));
  if (first.device_type() == nb::device::cuda::value) return first.device_id();
  return std::nullopt;
}

std::optional<int> device_named(const std::string& name, std::optional<int> home) {
  if (name == "auto" || (name == "cuda" && home)) return home;
  if (name == "cpu") return std::nullopt;
  return gpu_named(name);
}

const void* data_of(const Arrays& arrays, const char* suffix) {
  const auto found = arrays.find(suffix);
  return found == arrays.end() ? nullptr : found->second.data();
}

// The shapes and types that the kernels read, checked here because they only get addresses.
void check_stored(std::string_view layout, const Arrays& arrays, format::LinearSize size, int group) {
  if (layout == kPlain) return check_plain(arrays, size, group);
  for (const format::EncodedTensor& planned : format::find_layout(layout)->plan(size.n, size.k, group)) {
    const AnyArray& array = arrays.at(planned.suffix);
    if (dtype_of(array) != planned.dtype || shape_of(array) != planned.shape)
      throw Error(ErrorKind::kBadInput,
                  fmt::format("{}: shape or type is not that of layout {} with n = {}, k = {}, group_size {}",
                              planned.suffix, layout, size.n, size.k, group));
  }
}

}  // namespace

std::unique_ptr<PackedLinear> pack(const PackArrays& given, const std::string& layout_name, int group_size,
                                   const std::string& device) {
  const CudaLayout& layout = layout_row(layout_name);
  const Arrays arrays = arrays_of(given);
  const format::LinearSize size = size_of(layout.name, arrays.at("qweight"));
  const int group = group_size == -1 ? static_cast<int>(size.k) : group_size;
  if (group <= 0 || size.k % group != 0)
    throw Error(ErrorKind::kUsage, fmt::format("group_size {} does not divide the {} input features", group, size.k));
  check_stored(layout.name, arrays, size, group);
  const std::optional<int> home = home_of(arrays), target = device_named(device, home);
  if (home && target != home)
    throw Error(ErrorKind::kUsage,
                fmt::format("the arrays are on cuda:{}: they are packed there (device auto)", *home));
  const nb::gil_scoped_release released;  // the arrays above are let go of with the GIL again
  if (home)
    return pack_on_cuda({*home, layout.layout, data_of(arrays, "qweight"), data_of(arrays, "qzeros"),
                         data_of(arrays, "scales"), data_of(arrays, "bias")},
                        size.n, size.k, group);
  const format::QuantizedLinear linear = decoded(layout.name, arrays, size, group);
  return target ? pack_for_cuda(*target, linear) : pack_for_cpu(linear);
}

}  // namespace awq::python
