// y = x W' on a GPU, for tensors of torch and arrays that speak DLPack, through awq/cuda.h. A call makes the output and
// launches; the GIL stays taken, because it is over in microseconds.
#include <fmt/format.h>
#include <nanobind/ndarray.h>

#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "awq/error.h"
#include "cuda_library.h"
#include "device_array.h"
#include "packed_linear.h"

namespace awq::python {
namespace {

// Scratch of the kernels: one a stream, made anew when more is needed. The smaller ones stay, because a captured graph
// may hold their address; never destroyed, because the driver may be gone by then. Guarded by the GIL.
void* workspace_for(int ordinal, CudaStream stream, size_t bytes) {
  static auto* all = new std::map<std::pair<int, CudaStream>, std::vector<DeviceMemory>>;
  if (bytes == 0) return nullptr;
  std::vector<DeviceMemory>& memories = (*all)[{ordinal, stream}];
  if (memories.empty() || memories.back().bytes() < bytes) memories.emplace_back(ordinal, bytes);
  return memories.back().data();
}

int64_t next_power_of_two(int64_t m) {
  int64_t power = 1;
  while (power < m) power *= 2;
  return power;
}

class CudaLinear : public PackedLinear {
 public:
  CudaLinear(int ordinal, int64_t n, int64_t k, int group, const awq_cuda_source& source, DeviceMemory bias)
      : PackedLinear(n, k, group), ordinal_(ordinal), bias_(std::move(bias)) {
    const awq_cuda_bytes bytes = cuda_library().layout_bytes(n, k, group);
    if (bytes.qweight == 0)
      throw Error(
          ErrorKind::kBadInput,
          fmt::format("n = {}, k = {}, group_size {}: the kernels of GPUs take multiples of 8, and groups of 32, "
                      "64, a multiple of 128, or all of k",
                      n, k, group));
    qweight_ = DeviceMemory(ordinal, bytes.qweight);
    scales_ = DeviceMemory(ordinal, bytes.scales);
    zeros_ = DeviceMemory(ordinal, bytes.zeros);
    linear_.n = n;
    linear_.k = k;
    linear_.group_size = group;
    linear_.qweight = qweight_.data();
    linear_.scales = scales_.data();
    linear_.zeros = zeros_.data();
    linear_.bias = bias_.data();
    const OnDevice scope(ordinal);
    check_driver(cuda_library().synchronize(), "waiting for the arrays to pack");  // whichever stream they were made on
    awq_cuda_message message;
    check_call(cuda_library().repack(&source, &linear_, nullptr, &message), message);
    check_driver(cuda_library().synchronize(), "packing");  // kernels read weights ahead: these must be complete
  }

  std::string device() const override { return fmt::format("cuda:{}", ordinal_); }
  uint64_t bytes() const override { return qweight_.bytes() + scales_.bytes() + zeros_.bytes(); }

  std::string kernel_for(int64_t m, const char* version, bool bf16) const override {
    const OnDevice scope(ordinal_);
    const char* name = nullptr;
    awq_cuda_message message;
    check_call(cuda_library().select(version, &linear_, bf16 ? AWQ_CUDA_BF16 : AWQ_CUDA_F16, m, &name, &message),
               message);
    return name;
  }

  nb::object forward(nb::handle x, const char* version, nb::handle out, nb::handle stream) override {
    const DeviceView in = view_of(x, stream);
    check(in);
    void* y = nullptr;
    nb::object result = out.is_none() ? empty_like(x, in, n(), y) : nb::borrow(out);
    if (!out.is_none()) y = checked_out(out, in, stream);
    if (in.rows == 0) return result;
    const OnDevice scope(ordinal_);
    const size_t bytes = workspace_bytes(version, in.type, in.rows);
    void* workspace = workspace_for(ordinal_, in.stream, bytes);
    awq_cuda_message message;
    check_call(
        cuda_library().forward(version, &linear_, in.type, in.rows, in.data, y, workspace, bytes, in.stream, &message),
        message);
    return result;
  }

  nb::object dequantized() const override {
    void* w = nullptr;
    const size_t shape[] = {static_cast<size_t>(n()), static_cast<size_t>(k())};
    nb::object result = new_device_array(ordinal_, shape, false, nullptr, w);
    const OnDevice scope(ordinal_);
    awq_cuda_message message;
    check_call(cuda_library().dequantize(&linear_, AWQ_CUDA_F16, w, nullptr, &message), message);
    return result;
  }

 private:
  void check(const DeviceView& x) const {
    if (x.ordinal != ordinal_)
      throw Error(ErrorKind::kUsage, fmt::format("x is on cuda:{}, the weights are on cuda:{}", x.ordinal, ordinal_));
    if (x.cols != k())
      throw Error(ErrorKind::kUsage,
                  fmt::format("x: the last dimension must be the {} input features of this linear", k()));
  }

  void* checked_out(nb::handle out, const DeviceView& x, nb::handle stream) const {
    const DeviceView y = view_of(out, stream);
    if (y.ordinal == x.ordinal && y.type == x.type && y.rows == x.rows && y.cols == n()) return y.data;
    throw Error(
        ErrorKind::kUsage,
        fmt::format("out: must be of x's type, on its GPU, with {} in the last dimension and the others as in x", n()));
  }

  // Asked once for each version and power of two of tokens: the answer holds for fewer tokens too.
  size_t workspace_bytes(const char* version, awq_cuda_type type, int64_t m) {
    for (const KnownWorkspace& known : workspaces_)
      if (known.type == type && m <= known.most && 2 * m > known.most && known.version == version) return known.bytes;
    KnownWorkspace known{version, type, next_power_of_two(m), 0};
    awq_cuda_message message;
    check_call(cuda_library().workspace_bytes(version, &linear_, type, known.most, &known.bytes, &message), message);
    workspaces_.push_back(known);
    return known.bytes;
  }

  struct KnownWorkspace {
    std::string version;
    awq_cuda_type type;
    int64_t most;
    size_t bytes;
  };

  int ordinal_;
  DeviceMemory qweight_, scales_, zeros_, bias_;
  awq_cuda_linear linear_{};
  std::vector<KnownWorkspace> workspaces_;
};

template <class T>
DeviceMemory upload(int ordinal, const std::vector<T>& values) {
  return DeviceMemory(ordinal, values.data(), values.size() * sizeof(T));
}

}  // namespace

std::unique_ptr<PackedLinear> pack_for_cuda(int ordinal, const format::QuantizedLinear& w) {
  const DeviceMemory q = upload(ordinal, w.q), zeros = upload(ordinal, w.zeros), scales = upload(ordinal, w.scales);
  const awq_cuda_source source{AWQ_CUDA_LAYOUT_PLAIN, q.data(), zeros.data(), scales.data()};
  return std::make_unique<CudaLinear>(ordinal, w.n, w.k, w.group, source, upload(ordinal, w.bias));
}

std::unique_ptr<PackedLinear> pack_on_cuda(const DeviceArrays& arrays, int64_t n, int64_t k, int group) {
  const awq_cuda_source source{arrays.layout, arrays.qweight, arrays.qzeros, arrays.scales};
  DeviceMemory bias;
  if (arrays.bias != nullptr) {  // a copy: the caller's tensor may change or go
    std::vector<uint16_t> host(n);
    const OnDevice scope(arrays.ordinal);
    check_driver(cuda_library().synchronize(), "waiting for the bias");
    check_driver(cuda_library().to_host(host.data(), reinterpret_cast<DevicePointer>(arrays.bias), n * 2, nullptr),
                 "copying the bias");
    check_driver(cuda_library().synchronize_stream(nullptr), "copying the bias");
    bias = upload(arrays.ordinal, host);
  }
  return std::make_unique<CudaLinear>(arrays.ordinal, n, k, group, source, std::move(bias));
}

}  // namespace awq::python
