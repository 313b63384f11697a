#include "backend/cuda/gpu/device_case.h"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace awq::backend::cuda::testing {
namespace {

constexpr int kPoisonByte = 0xff, kGuardByte = 0xa5;

size_t workspace_bytes(const awq_cuda_linear& w, const std::string& version, awq_cuda_type type, int64_t m) {
  size_t bytes = 0;
  awq_cuda_message message;
  require(awq_cuda_workspace_bytes(version.c_str(), &w, type, m, &bytes, &message), message);
  return bytes;
}

template <class T>
std::span<const T> as_span(const std::vector<T>& v) {
  return v;
}

}  // namespace

void require(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}
void require(awq_cuda_status status, const awq_cuda_message& message) {
  if (status != AWQ_CUDA_OK) throw std::runtime_error(message.text);
}

std::string why_no_gpu() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) return std::string("no usable GPU: ") + cudaGetErrorString(error);
  return count == 0 ? "no GPU" : "";
}

int overlaps(cudaGraph_t graph) {
#if CUDART_VERSION >= 13000
  const auto edges_of = cudaGraphGetEdges;
#else
  const auto edges_of = cudaGraphGetEdges_v2;
#endif
  size_t count = 0;
  require(edges_of(graph, nullptr, nullptr, nullptr, &count));
  std::vector<cudaGraphNode_t> from(count), to(count);
  std::vector<cudaGraphEdgeData> edges(count);
  require(edges_of(graph, from.data(), to.data(), edges.data(), &count));
  return static_cast<int>(std::count_if(edges.begin(), edges.end(), [](const cudaGraphEdgeData& edge) {
    return edge.type == cudaGraphDependencyTypeProgrammatic;
  }));
}

DeviceMemory::DeviceMemory(size_t bytes) : bytes_(bytes) {
  require(cudaMalloc(&start_, bytes + 2 * kGuard));
  require(cudaMemset(start_, kGuardByte, bytes + 2 * kGuard));
  poison();
}

void DeviceMemory::poison() {
  require(cudaMemset(data(), kPoisonByte, bytes_));
  settle();
}

// The default stream's fills and copies from pageable memory may still be under way when they return, and the streams
// of make_stream() do not wait for them.
void DeviceMemory::settle() { require(cudaStreamSynchronize(cudaStreamLegacy)); }

bool DeviceMemory::guards_intact() const {
  std::array<uint8_t, 2 * kGuard> guards;
  require(cudaMemcpy(guards.data(), start_, kGuard, cudaMemcpyDeviceToHost));
  require(cudaMemcpy(guards.data() + kGuard, static_cast<std::byte*>(data()) + bytes_, kGuard, cudaMemcpyDeviceToHost));
  return std::all_of(guards.begin(), guards.end(), [](uint8_t byte) { return byte == kGuardByte; });
}

uint16_t to_bits(float value, awq_cuda_type type) {
  return type == AWQ_CUDA_BF16 ? f32_to_bf16(value) : f32_to_f16(value);
}
float from_bits(uint16_t bits, awq_cuda_type type) {
  return type == AWQ_CUDA_BF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

std::vector<uint16_t> x_bits(const Case& c, awq_cuda_type type) {
  std::vector<uint16_t> bits;
  for (const float x : c.x) bits.push_back(to_bits(x, type));
  return bits;
}

DeviceLinear::DeviceLinear(const Case& c)
    : qweight_(awq_cuda_layout_bytes(c.shape.n, c.shape.k, c.shape.group).qweight),
      scales_(awq_cuda_layout_bytes(c.shape.n, c.shape.k, c.shape.group).scales),
      zeros_(awq_cuda_layout_bytes(c.shape.n, c.shape.k, c.shape.group).zeros),
      bias_(as_span(c.linear.bias)),
      index_(as_span(c.salient.index)),
      delta_(as_span(c.salient.delta)),
      plain_q_(c.linear.q.size()),
      plain_zeros_(c.linear.zeros.size()),
      plain_scales_(as_span(c.linear.scales)),
      view_{c.shape.n,
            c.shape.k,
            c.shape.group,
            qweight_.data(),
            scales_.data(),
            zeros_.data(),
            c.linear.bias.empty() ? nullptr : bias_.data(),
            static_cast<int32_t>(c.salient.index.size()),
            static_cast<const int32_t*>(index_.data()),
            delta_.data()} {
  repack(c.linear);
}

void DeviceLinear::repack(const format::QuantizedLinear& linear) {
  plain_q_.upload(as_span(linear.q));
  plain_zeros_.upload(as_span(linear.zeros));
  const awq_cuda_source source{AWQ_CUDA_LAYOUT_PLAIN, plain_q_.data(), plain_zeros_.data(), plain_scales_.data()};
  awq_cuda_message message;
  require(awq_cuda_repack(&source, &view_, nullptr, &message), message);
}

Forward::Forward(const DeviceLinear& w, const Case& c, std::string version, awq_cuda_type type)
    : linear_(w.view()),
      version_(std::move(version)),
      type_(type),
      m_(c.shape.m),
      x_(as_span(x_bits(c, type))),
      y_(static_cast<size_t>(c.shape.m * c.shape.n) * sizeof(uint16_t)),
      workspace_(workspace_bytes(linear_, version_, type, m_)) {}

void Forward::launch(cudaStream_t stream) const {
  awq_cuda_message message;
  require(awq_cuda_forward(version_.c_str(), &linear_, type_, m_, x_.data(), y_.data(), workspace_.data(),
                           workspace_.bytes(), stream, &message),
          message);
}

std::vector<uint16_t> Forward::run() {
  y_.poison();
  workspace_.poison();
  launch(nullptr);
  require(cudaDeviceSynchronize());
  EXPECT_TRUE(y_.guards_intact()) << "written outside y";
  EXPECT_TRUE(workspace_.guards_intact()) << "written outside the workspace";
  return y_.download<uint16_t>();
}

}  // namespace awq::backend::cuda::testing
