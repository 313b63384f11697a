#include "device_array.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "awq/error.h"
#include "torch_tensors.h"

namespace awq::python {
namespace {

using AnyArray = nb::ndarray<nb::ro, nb::c_contig>;
using Code = nb::dlpack::dtype_code;

nb::dlpack::dtype dlpack_type(bool bf16) { return {static_cast<uint8_t>(bf16 ? Code::Bfloat : Code::Float), 16, 1}; }

// By DLPack, for libraries that have no path of their own.
DeviceView view_by_dlpack(nb::handle x) {
  AnyArray array;
  if (!nb::try_cast(x, array, false) || array.device_type() != nb::device::cuda::value)
    throw nb::type_error("x: expected an array without gaps on the GPU, where the weights are");
  DeviceView view;
  view.ordinal = array.device_id();
  if (array.dtype() == dlpack_type(true))
    view.type = AWQ_CUDA_BF16;
  else if (array.dtype() != dlpack_type(false))
    throw nb::type_error("x: the element type must be float16 or bfloat16 on a GPU");
  if (array.ndim() < 1) throw nb::type_error("x: a number is not a row of input features");
  view.rows = 1;
  for (size_t i = 0; i + 1 < array.ndim(); ++i) view.rows *= static_cast<int64_t>(array.shape(i));
  view.cols = static_cast<int64_t>(array.shape(array.ndim() - 1));
  view.data = const_cast<void*>(array.data());
  return view;
}

// A number, torch.cuda.Stream or cupy.cuda.Stream.
CudaStream stream_of(nb::handle stream) {
  nb::object number = nb::borrow(stream);
  for (const char* name : {"cuda_stream", "ptr"})
    if (nb::hasattr(stream, name)) number = stream.attr(name);
  void* raw = PyLong_AsVoidPtr(number.ptr());
  if (raw == nullptr && PyErr_Occurred() != nullptr) throw nb::python_error();
  return raw;
}

// Waits for all that the GPU has to do, without the GIL, then copies.
void copy_when_done(int ordinal, const void* from, std::span<uint16_t> to) {
  const nb::gil_scoped_release released;
  const OnDevice scope(ordinal);
  check_driver(cuda_library().synchronize(), "waiting for the array");
  if (to.empty()) return;
  check_driver(cuda_library().to_host(to.data(), reinterpret_cast<DevicePointer>(from), to.size_bytes(), nullptr),
               "copying from the GPU");
  check_driver(cuda_library().synchronize_stream(nullptr), "copying from the GPU");
}

struct OwnedArray {
  int ordinal;
  DevicePointer pointer;
  CudaStream stream;
};

void release(void* p) noexcept {
  const std::unique_ptr<OwnedArray> array(static_cast<OwnedArray*>(p));
  try {
    const OnDevice scope(array->ordinal);
    cuda_library().release_async(array->pointer, array->stream);
  } catch (const Error&) {  // a device that is gone has nothing to give back
  }
}

}  // namespace

DeviceView view_of(nb::handle x, nb::handle stream) {
  const TorchTensors* torch = TorchTensors::of(x);
  DeviceView view = torch != nullptr ? torch->view(x) : view_by_dlpack(x);
  if (!stream.is_none())
    view.stream = stream_of(stream);
  else if (torch != nullptr)
    view.stream = torch->current_stream(view.ordinal);
  return view;
}

nb::object empty_like(nb::handle x, const DeviceView& view, int64_t cols, void*& data) {
  if (const TorchTensors* torch = TorchTensors::of(x)) return torch->empty_like(x, cols, data);
  AnyArray array;
  nb::try_cast(x, array, false);
  std::vector<size_t> shape;
  for (size_t i = 0; i + 1 < array.ndim(); ++i) shape.push_back(array.shape(i));
  shape.push_back(static_cast<size_t>(cols));
  return new_device_array(view.ordinal, shape, view.type == AWQ_CUDA_BF16, view.stream, data);
}

nb::object new_device_array(int ordinal, std::span<const size_t> shape, bool bf16, CudaStream stream, void*& data) {
  size_t bytes = 2;
  for (const size_t extent : shape) bytes *= extent;
  auto array = std::make_unique<OwnedArray>(OwnedArray{ordinal, 0, stream});
  const OnDevice scope(ordinal);
  check_driver(cuda_library().allocate_async(&array->pointer, std::max<size_t>(bytes, 1), stream),
               "allocating memory of the GPU");
  data = reinterpret_cast<void*>(array->pointer);
  const nb::capsule owner(array.release(), release);
  return nb::cast(nb::ndarray<nb::array_api, nb::device::cuda>(data, shape.size(), shape.data(), owner, nullptr,
                                                               dlpack_type(bf16), nb::device::cuda::value, ordinal));
}

int gpu_named(const std::string& name) {
  int ordinal = 0;
  const char *digits = name.data() + std::min<size_t>(name.size(), 5), *end = name.data() + name.size();
  const bool numbered = name.starts_with("cuda:") && digits != end && std::from_chars(digits, end, ordinal).ptr == end;
  if (name == "cuda" || numbered) return ordinal;
  throw Error(ErrorKind::kUsage, fmt::format("device '{}': choose auto, cpu, cuda, or cuda:N", name));
}

nb::object to_device(nb::handle object, const std::string& device) {
  nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu> array;
  if (!nb::try_cast(object, array) || array.dtype() != dlpack_type(false))
    throw nb::type_error("to_device: expected a float16 array in host memory");
  const int ordinal = gpu_named(device);
  void* data = nullptr;
  const std::vector<size_t> shape(array.shape_ptr(), array.shape_ptr() + array.ndim());
  nb::object copy = new_device_array(ordinal, shape, false, nullptr, data);
  const OnDevice scope(ordinal);
  const auto to = reinterpret_cast<DevicePointer>(data);
  if (array.size() > 0)
    check_driver(cuda_library().to_device(to, array.data(), array.nbytes(), nullptr), "copying to the GPU");
  check_driver(cuda_library().synchronize_stream(nullptr), "copying to the GPU");
  return copy;
}

nb::object to_host(nb::handle object) {
  AnyArray array;
  if (!nb::try_cast(object, array) || array.device_type() != nb::device::cuda::value ||
      array.dtype() != dlpack_type(false))
    throw nb::type_error("to_host: expected a float16 array on a GPU");
  auto* bits = new std::vector<uint16_t>(array.size());
  const nb::capsule owner(bits, [](void* p) noexcept { delete static_cast<std::vector<uint16_t>*>(p); });
  copy_when_done(array.device_id(), array.data(), *bits);
  const std::vector<size_t> shape(array.shape_ptr(), array.shape_ptr() + array.ndim());
  return nb::cast(nb::ndarray<nb::numpy, nb::device::cpu>(bits->data(), shape.size(), shape.data(), owner, nullptr,
                                                          dlpack_type(false)));
}

}  // namespace awq::python
