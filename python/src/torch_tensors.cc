#include "torch_tensors.h"

#include <cstring>

namespace awq::python {
namespace {

// Names that every call looks up, made once.
struct Names {
  PyObject* data_ptr = PyUnicode_InternFromString("data_ptr");
  PyObject* shape = PyUnicode_InternFromString("shape");
  PyObject* dtype = PyUnicode_InternFromString("dtype");
  PyObject* get_device = PyUnicode_InternFromString("get_device");
  PyObject* is_contiguous = PyUnicode_InternFromString("is_contiguous");
  PyObject* new_empty = PyUnicode_InternFromString("new_empty");
};
const Names& names() {
  static const Names all;
  return all;
}

nb::object checked(PyObject* result) {
  if (result == nullptr) throw nb::python_error();
  return nb::steal(result);
}
nb::object call(nb::handle x, PyObject* method) {
  return checked(PyObject_CallMethodObjArgs(x.ptr(), method, nullptr));
}
nb::object attribute(nb::handle x, PyObject* name) { return checked(PyObject_GetAttr(x.ptr(), name)); }

void* pointer(nb::handle number) {
  void* p = PyLong_AsVoidPtr(number.ptr());
  if (p == nullptr && PyErr_Occurred() != nullptr) throw nb::python_error();
  return p;
}
int64_t whole(PyObject* number) { return PyLong_AsLongLong(number); }

bool named_like_torch(nb::handle type) {
  const nb::object module = type.attr("__module__");
  const char* name = PyUnicode_Check(module.ptr()) ? PyUnicode_AsUTF8AndSize(module.ptr(), nullptr) : nullptr;
  return name != nullptr && std::strncmp(name, "torch", 5) == 0;
}

}  // namespace

TorchTensors::TorchTensors(nb::handle torch)
    : tensor_(torch.attr("Tensor")),
      float16_(torch.attr("float16")),
      bfloat16_(torch.attr("bfloat16")),
      raw_stream_(nb::getattr(torch.attr("_C"), "_cuda_getCurrentRawStream", nb::none())) {}

const TorchTensors* TorchTensors::of(nb::handle x) {
  static TorchTensors* torch = nullptr;  // never destroyed: it must not outlive Python's end
  if (torch == nullptr) {
    if (!named_like_torch(x.type())) return nullptr;
    torch = new TorchTensors(nb::module_::import_("torch"));
  }
  if (x.type().is(torch->tensor_)) return torch;
  const int is = PyObject_IsInstance(x.ptr(), torch->tensor_.ptr());  // torch.nn.Parameter, and classes of the caller
  if (is < 0) throw nb::python_error();
  return is == 1 ? torch : nullptr;
}

DeviceView TorchTensors::view(nb::handle x) const {
  DeviceView view;
  view.ordinal = static_cast<int>(whole(call(x, names().get_device).ptr()));
  if (view.ordinal < 0) throw nb::type_error("x: the weights are on a GPU, this tensor is not");
  const nb::object dtype = attribute(x, names().dtype);
  if (dtype.is(bfloat16_))
    view.type = AWQ_CUDA_BF16;
  else if (!dtype.is(float16_))
    throw nb::type_error("x: the element type must be float16 or bfloat16 on a GPU");
  if (!call(x, names().is_contiguous).is(nb::handle(Py_True)))
    throw nb::type_error("x: must be contiguous on a GPU: pass x.contiguous()");
  const nb::object shape = attribute(x, names().shape);
  const Py_ssize_t dimensions = PyTuple_Size(shape.ptr());
  if (dimensions < 1) throw nb::type_error("x: a number is not a row of input features");
  view.rows = 1;
  for (Py_ssize_t i = 0; i + 1 < dimensions; ++i) view.rows *= whole(PyTuple_GetItem(shape.ptr(), i));
  view.cols = whole(PyTuple_GetItem(shape.ptr(), dimensions - 1));
  view.data = pointer(call(x, names().data_ptr));
  return view;
}

CudaStream TorchTensors::current_stream(int ordinal) const {
  if (raw_stream_.is_none()) return nullptr;
  return pointer(raw_stream_(ordinal));
}

nb::object TorchTensors::empty_like(nb::handle x, int64_t cols, void*& data) const {
  const nb::object shape = attribute(x, names().shape);
  const Py_ssize_t dimensions = PyTuple_Size(shape.ptr());
  const nb::object wanted = checked(PyTuple_New(dimensions));
  for (Py_ssize_t i = 0; i + 1 < dimensions; ++i)
    PyTuple_SetItem(wanted.ptr(), i, nb::borrow(PyTuple_GetItem(shape.ptr(), i)).release().ptr());
  PyTuple_SetItem(wanted.ptr(), dimensions - 1, PyLong_FromLongLong(cols));
  nb::object y = checked(PyObject_CallMethodObjArgs(x.ptr(), names().new_empty, wanted.ptr(), nullptr));
  data = pointer(call(y, names().data_ptr));
  return y;
}

}  // namespace awq::python
