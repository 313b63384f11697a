// A problem of w4a16_cases.h on the GPU, through the C API alone: what an engine would do. Every output and workspace
// is poisoned before a run, and lies between guard bytes that are looked at after it.
#pragma once
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "awq/cuda.h"
#include "backend/w4a16_cases.h"

namespace awq::backend::cuda::testing {

using namespace awq::testing;

void require(cudaError_t error);                                        // throws std::runtime_error
void require(awq_cuda_status status, const awq_cuda_message& message);  // likewise
std::string why_no_gpu();                                               // "" when there is one

class DeviceMemory {
 public:
  explicit DeviceMemory(size_t bytes);  // poisoned: every float, half and bf16 in it is a NaN
  template <class T>
  explicit DeviceMemory(std::span<const T> host) : DeviceMemory(host.size_bytes()) {
    upload(host);
  }
  ~DeviceMemory() { cudaFree(start_); }
  DeviceMemory(DeviceMemory&& other) noexcept : start_(other.start_), bytes_(other.bytes_) { other.start_ = nullptr; }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  void* data() const { return static_cast<std::byte*>(start_) + kGuard; }
  size_t bytes() const { return bytes_; }
  void poison();
  bool guards_intact() const;

  template <class T>
  void upload(std::span<const T> host) {
    require(cudaMemcpy(data(), host.data(), host.size_bytes(), cudaMemcpyHostToDevice));
    settle();
  }
  template <class T>
  std::vector<T> download() const {
    std::vector<T> host(bytes_ / sizeof(T));
    require(cudaMemcpy(host.data(), data(), host.size() * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
  }

 private:
  static void settle();  // waits until fills and copies have arrived

  static constexpr size_t kGuard = 256;
  void* start_ = nullptr;
  size_t bytes_;
};

int overlaps(cudaGraph_t graph);  // kernels that may start before the one ahead of them has ended

template <class Body>
int captured_overlaps(cudaStream_t stream, Body&& body) {
  require(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  body();
  cudaGraph_t graph = nullptr;
  require(cudaStreamEndCapture(stream, &graph));
  const int count = overlaps(graph);
  require(cudaGraphDestroy(graph));
  return count;
}

// f16 or bf16 bits.
uint16_t to_bits(float value, awq_cuda_type type);
float from_bits(uint16_t bits, awq_cuda_type type);
std::vector<uint16_t> x_bits(const Case& c, awq_cuda_type type);  // x of the case

// The weights of a case in the tile layout, repacked on the GPU from PLAIN.
class DeviceLinear {
 public:
  explicit DeviceLinear(const Case& c);
  void repack(const format::QuantizedLinear& linear);  // other codes and zero points, same shape
  awq_cuda_linear view() const { return view_; }

 private:
  DeviceMemory qweight_, scales_, zeros_, bias_, index_, delta_, plain_q_, plain_zeros_, plain_scales_;
  awq_cuda_linear view_;
};

// y (m, n) as bits. Fails the test when anything outside y was written.
class Forward {
 public:
  Forward(const DeviceLinear& w, const Case& c, std::string version, awq_cuda_type type);
  std::vector<uint16_t> run();
  void launch(cudaStream_t stream) const;  // throws std::runtime_error when the C API refuses
  DeviceMemory& y() { return y_; }

 private:
  awq_cuda_linear linear_;
  std::string version_;
  awq_cuda_type type_;
  int64_t m_;
  DeviceMemory x_, y_, workspace_;
};

}  // namespace awq::backend::cuda::testing
