// y = x W' on the CPU, for arrays of numpy and for tensors of torch that lie in host memory.
#include <fmt/format.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <unistd.h>

#include <functional>
#include <mutex>
#include <vector>

#include "array_types.h"
#include "awq/error.h"
#include "backend/cpu/linear_w4a16.h"
#include "packed_linear.h"

namespace awq::python {
namespace {

using Input = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using Output = nb::ndarray<nb::c_contig, nb::device::cpu>;

// All cores, one product at a time. A forked child has no threads: it makes its own and leaves the parent's alone.
class SharedThreads {
 public:
  void with(const std::function<void(ThreadPool&)>& body) {
    const std::lock_guard turn(mutex_);
    if (owner_ != ::getpid()) {
      (void)pool_.release();
      pool_ = std::make_unique<ThreadPool>();
      owner_ = ::getpid();
    }
    body(*pool_);
  }

 private:
  std::mutex mutex_;
  std::unique_ptr<ThreadPool> pool_;
  pid_t owner_ = -1;
};

SharedThreads& shared_threads() {
  static auto* threads = new SharedThreads;  // never destroyed: a thread may still work when Python ends
  return *threads;
}

bool is_torch(nb::handle x) {
  const nb::object module = x.type().attr("__module__");
  return nb::cast<std::string>(module).starts_with("torch");
}

// A new array of numpy, or of torch where x is one of its tensors; the memory is a new buffer.
nb::object new_array(nb::handle x, std::vector<size_t> shape, const FloatType& type, void*& data) {
  size_t bytes = type.dtype.bits / 8;
  for (const size_t extent : shape) bytes *= extent;
  auto* buffer = new std::vector<std::byte>(bytes);
  data = buffer->data();
  const nb::capsule owner(buffer, [](void* p) noexcept { delete static_cast<std::vector<std::byte>*>(p); });
  const auto make = [&]<class Framework>(Framework) {
    return nb::cast(
        nb::ndarray<Framework, nb::device::cpu>(data, shape.size(), shape.data(), owner, nullptr, type.dtype));
  };
  return is_torch(x) ? make(nb::pytorch()) : make(nb::numpy());
}

class CpuLinear : public PackedLinear {
 public:
  explicit CpuLinear(const format::QuantizedLinear& linear)
      : PackedLinear(linear.n, linear.k, linear.group), linear_(linear, {}), plain_(linear) {}

  std::string device() const override { return "cpu"; }
  uint64_t bytes() const override { return linear_.bytes(); }
  std::string kernel_for(int64_t m, const char* version, bool) const override { return linear_.kernel_for(m, version); }

  nb::object forward(nb::handle x, const char* version, nb::handle out, nb::handle) override {
    Input input;
    if (!nb::try_cast(x, input))
      throw nb::type_error("x: expected an array in host memory (numpy, or a CPU tensor), as the weights are");
    const FloatType* type = float_type(input.dtype());
    if (type == nullptr) throw nb::type_error("x: the element type must be float32, float16 or bfloat16");
    check_shape(input);
    void* data = nullptr;
    nb::object result = nb::borrow(out);
    if (out.is_none())
      result = new_array(x, shape_of_result(input), *type, data);
    else
      data = checked_out(out, input, *type);
    run(input, *type, version, data);
    return result;
  }

  nb::object dequantized() const override {
    void* data = nullptr;
    nb::object w = new_array(nb::none(), {size_t(n()), size_t(k())}, kFloatTypes[0], data);
    const nb::gil_scoped_release released;
    for (int64_t row = 0; row < n(); ++row)
      for (int64_t col = 0; col < k(); ++col) static_cast<float*>(data)[row * k() + col] = plain_.dequantized(row, col);
    return w;
  }

 private:
  void check_shape(const Input& x) const {
    if (x.ndim() >= 1 && static_cast<int64_t>(x.shape(x.ndim() - 1)) == k()) return;
    throw Error(ErrorKind::kUsage,
                fmt::format("x: the last dimension must be the {} input features of this linear", k()));
  }

  std::vector<size_t> shape_of_result(const Input& x) const {
    std::vector<size_t> shape;
    for (size_t i = 0; i + 1 < x.ndim(); ++i) shape.push_back(x.shape(i));
    shape.push_back(n());
    return shape;
  }

  void* checked_out(nb::handle out, const Input& x, const FloatType& type) const {
    Output array;
    const std::vector<size_t> shape = shape_of_result(x);
    bool fits = nb::try_cast(out, array, false) && array.dtype() == type.dtype && array.ndim() == shape.size();
    for (size_t i = 0; fits && i < shape.size(); ++i) fits = array.shape(i) == shape[i];
    if (fits) return array.data();
    throw Error(
        ErrorKind::kUsage,
        fmt::format("out: must be a writable array without gaps, of x's type {} and {} in the last dimension, the "
                    "others as in x",
                    type.name, n()));
  }

  void run(const Input& x, const FloatType& type, const char* version, void* y) {
    const int64_t m = static_cast<int64_t>(x.size()) / k();
    const nb::gil_scoped_release released;
    std::vector<float> in, sums;
    const bool direct = &type == &kFloatTypes[0];  // float32: no copies
    if (!direct) {
      in.resize(x.size());
      sums.resize(m * n());
      type.to_f32(x.data(), in);
    }
    const MatrixView<const float> rows(direct ? static_cast<const float*>(x.data()) : in.data(), m, k());
    const MatrixView<float> result(direct ? static_cast<float*>(y) : sums.data(), m, n());
    shared_threads().with([&](ThreadPool& pool) { linear_.forward(pool, rows, result, version); });
    if (!direct) type.from_f32(sums, y);
  }

  backend::cpu::LinearW4A16 linear_;
  format::QuantizedLinear plain_;
};

}  // namespace

std::unique_ptr<PackedLinear> pack_for_cpu(const format::QuantizedLinear& linear) {
  return std::make_unique<CpuLinear>(linear);
}

}  // namespace awq::python
