// An engine that brings its own memory and stream: one quantized linear, repacked from a checkpoint's layout, run for
// one token and for sixteen from a CUDA graph, and compared with the definition. Everything that the library needs is
// here.
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <stdexcept>
#include <vector>

#include "awq/cuda.hpp"

namespace {

constexpr int64_t kN = 1024, kK = 2048, kMostTokens = 16;
constexpr int32_t kGroup = 128;
constexpr int kSkipped = 77;  // the exit code by which ctest knows that there was nothing to run on

void check_cuda(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

void* device_memory(size_t bytes) {  // cudaMalloc aligns to 256 bytes; the library wants 16
  void* p = nullptr;
  check_cuda(cudaMalloc(&p, bytes));
  return p;
}

template <class T>
void* on_device(const std::vector<T>& host) {
  void* p = device_memory(host.size() * sizeof(T));
  check_cuda(cudaMemcpy(p, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
  return p;
}

// What a checkpoint holds, as AWQ_CUDA_LAYOUT_PLAIN: one code a byte. The layouts gemm, gemv and gemv_fast of AWQ files
// are handed over as they are stored.
struct HostLinear {
  std::vector<uint8_t> q = std::vector<uint8_t>(kN * kK), zeros = std::vector<uint8_t>(kN * kK / kGroup);
  std::vector<__half> scales;
};

HostLinear random_linear(std::mt19937& random) {
  HostLinear w;
  for (uint8_t& q : w.q) q = random() % 16;
  for (uint8_t& z : w.zeros) {
    z = random() % 16;
    w.scales.push_back(__float2half(0.001f * static_cast<float>(1 + random() % 20)));
  }
  return w;
}

awq_cuda_linear load(const HostLinear& host, cudaStream_t stream) {
  const awq_cuda_bytes bytes = awq_cuda_layout_bytes(kN, kK, kGroup);  // all 0: a shape that is not supported
  awq_cuda_linear w{};
  w.n = kN;
  w.k = kK;
  w.group_size = kGroup;
  w.qweight = device_memory(bytes.qweight);
  w.scales = device_memory(bytes.scales);
  w.zeros = device_memory(bytes.zeros);
  void *q = on_device(host.q), *zeros = on_device(host.zeros), *scales = on_device(host.scales);
  awq::cuda::repack({AWQ_CUDA_LAYOUT_PLAIN, q, zeros, scales}, w, stream);
  check_cuda(cudaStreamSynchronize(stream));
  for (void* p : {q, zeros, scales}) check_cuda(cudaFree(p));  // the checkpoint's arrays have served
  return w;
}

// Captures y = x W' once; an engine would capture a whole token step.
cudaGraphExec_t captured(const awq_cuda_linear& w, int64_t m, const void* x, void* y,
                         const awq::cuda::Workspace& workspace, cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  awq::cuda::forward(w, AWQ_CUDA_F16, m, x, y, workspace, stream);
  check_cuda(cudaStreamEndCapture(stream, &graph));
  check_cuda(cudaGraphInstantiate(&executable, graph, 0));
  check_cuda(cudaGraphDestroy(graph));
  return executable;
}

double largest_error(const HostLinear& w, const std::vector<__half>& x, const std::vector<__half>& y, int64_t m) {
  double largest = 0;
  for (int64_t t = 0; t < m; ++t)
    for (int64_t row = 0; row < kN; ++row) {
      double sum = 0, terms = 0;
      for (int64_t k = 0; k < kK; ++k) {
        const int64_t g = (row * kK + k) / kGroup;
        const double term =
            double{__half2float(x[t * kK + k])} * __half2float(w.scales[g]) * (w.q[row * kK + k] - w.zeros[g]);
        sum += term;
        terms += std::abs(term);
      }
      largest = std::max(largest, std::abs(sum - __half2float(y[t * kN + row])) / terms);
    }
  return largest;
}

int run() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::puts("skipped: there is no GPU");
    return kSkipped;
  }
  cudaStream_t stream = nullptr;
  check_cuda(cudaStreamCreate(&stream));
  std::mt19937 random(1);
  const HostLinear host = random_linear(random);
  const awq_cuda_linear w = load(host, stream);

  std::vector<__half> x, y(kMostTokens * kN);
  for (int64_t i = 0; i < kMostTokens * kK; ++i)
    x.push_back(__float2half(static_cast<float>(random() % 2001) / 1000.f - 1.f));
  void *x_device = on_device(x), *y_device = device_memory(y.size() * sizeof(__half));

  // Once, at load, for the most tokens that will come; one workspace serves all linears of a stream.
  awq::cuda::Workspace workspace;
  workspace.bytes = awq::cuda::workspace_bytes(w, AWQ_CUDA_F16, kMostTokens);
  workspace.data = device_memory(std::max<size_t>(workspace.bytes, 1));

  bool right = true;
  for (const int64_t m : {int64_t{1}, kMostTokens}) {
    const cudaGraphExec_t step = captured(w, m, x_device, y_device, workspace, stream);
    check_cuda(cudaGraphLaunch(step, stream));
    check_cuda(cudaStreamSynchronize(stream));
    check_cuda(cudaGraphExecDestroy(step));
    check_cuda(cudaMemcpy(y.data(), y_device, static_cast<size_t>(m * kN) * sizeof(__half), cudaMemcpyDeviceToHost));
    const double error = largest_error(host, x, y, m);
    std::printf("m = %2d  %-24s  largest error %.1e of the sum of |terms|\n", static_cast<int>(m),
                awq::cuda::selected(w, AWQ_CUDA_F16, m).data(), error);
    right = right && error < 0x1p-11;  // rounding y, and weights in some kernels, to 11 bits
  }
  for (const void* p : {w.qweight, w.scales, w.zeros, static_cast<const void*>(x_device),
                        static_cast<const void*>(y_device), static_cast<const void*>(workspace.data)})
    check_cuda(cudaFree(const_cast<void*>(p)));
  check_cuda(cudaStreamDestroy(stream));
  return right ? 0 : 1;
}

}  // namespace

int main() {
  try {
    return run();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
