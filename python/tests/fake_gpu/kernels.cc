// A libawq_cuda.so that computes on the host, with the interface of awq/cuda.h: what the Python half of awq_cpp.kernels
// hands over is checked here as the real one checks it. Its packed form is the plain one.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "awq/cuda.h"
#include "backend/cuda/plugin.h"
#include "core/half.h"
#include "format/registry.h"

namespace {

constexpr size_t kWorkspaceARow = 16;

awq_cuda_status say(awq_cuda_message* message, awq_cuda_status status, const std::string& text) {
  std::snprintf(message->text, sizeof message->text, "%s", text.c_str());
  return status;
}

bool misaligned(const void* p) { return p == nullptr || reinterpret_cast<uintptr_t>(p) % 16 != 0; }

bool is_known(const char* version) {
  for (const char* name : {"auto", "gemm", "gemv"})
    if (std::strcmp(name, version) == 0) return true;
  return false;
}

awq::format::QuantizedLinear decoded(const awq_cuda_source& from, const awq_cuda_linear& to) {
  const auto layout = static_cast<awq::Layout>(from.layout - AWQ_CUDA_LAYOUT_GEMM);
  const awq::format::LayoutRow& row = awq::format::layout(layout);
  std::vector<awq::format::EncodedTensor> tensors = row.plan(to.n, to.k, to.group_size);
  for (awq::format::EncodedTensor& tensor : tensors) {
    const void* data = tensor.suffix == "qweight"  ? from.qweight
                       : tensor.suffix == "qzeros" ? from.qzeros
                                                   : from.scales;
    size_t count = 1;
    for (const int64_t extent : tensor.shape) count *= extent;
    const auto* bytes = static_cast<const std::byte*>(data);
    tensor.bytes.assign(bytes, bytes + count * (tensor.dtype == awq::Dtype::kI32 ? 4 : 2));
  }
  const auto source = [&](std::string_view suffix) -> const awq::format::EncodedTensor* {
    for (const awq::format::EncodedTensor& tensor : tensors)
      if (tensor.suffix == suffix) return &tensor;
    return nullptr;
  };
  return row.decode(source, to.n, to.k, to.group_size);
}

float weight(const awq_cuda_linear& w, int64_t row, int64_t col) {
  const int64_t g = row * (w.k / w.group_size) + col / w.group_size;
  const int code = static_cast<const uint8_t*>(w.qweight)[row * w.k + col],
            zero = static_cast<const uint8_t*>(w.zeros)[g];
  return static_cast<float>(code - zero) * awq::f16_to_f32(static_cast<const uint16_t*>(w.scales)[g]);
}

}  // namespace

extern "C" {

int awq_cuda_plugin_abi() { return awq::backend::cuda::kPluginAbi; }
const awq::backend::cuda::Plugin* awq_cuda_plugin() {
  static const int kNobodyCallsIt = 0;
  return reinterpret_cast<const awq::backend::cuda::Plugin*>(&kNobodyCallsIt);
}

awq_cuda_bytes awq_cuda_layout_bytes(int64_t n, int64_t k, int32_t group) {
  if (n % 8 != 0 || k % 8 != 0) return {};
  return {static_cast<size_t>(n * k), static_cast<size_t>(2 * n * k / group), static_cast<size_t>(n * k / group)};
}

awq_cuda_status awq_cuda_repack(const awq_cuda_source* from, const awq_cuda_linear* to, void*,
                                awq_cuda_message* message) {
  if (misaligned(from->qweight) || misaligned(from->qzeros) || misaligned(from->scales) || misaligned(to->qweight))
    return say(message, AWQ_CUDA_MISALIGNED, "misaligned");
  auto* q = static_cast<uint8_t*>(const_cast<void*>(to->qweight));
  auto* zeros = static_cast<uint8_t*>(const_cast<void*>(to->zeros));
  auto* scales = static_cast<uint16_t*>(const_cast<void*>(to->scales));
  const int64_t groups = to->n * (to->k / to->group_size);
  if (from->layout == AWQ_CUDA_LAYOUT_PLAIN) {
    std::memcpy(q, from->qweight, to->n * to->k);
    std::memcpy(zeros, from->qzeros, groups);
    std::memcpy(scales, from->scales, 2 * groups);
    return AWQ_CUDA_OK;
  }
  const awq::format::QuantizedLinear linear = decoded(*from, *to);
  std::memcpy(q, linear.q.data(), to->n * to->k);
  std::memcpy(zeros, linear.zeros.data(), groups);
  std::memcpy(scales, linear.scales.data(), 2 * groups);
  return AWQ_CUDA_OK;
}

awq_cuda_status awq_cuda_dequantize(const awq_cuda_linear* w, awq_cuda_type, void* out, void*, awq_cuda_message*) {
  for (int64_t i = 0; i < w->n * w->k; ++i)
    static_cast<uint16_t*>(out)[i] = awq::f32_to_f16(weight(*w, i / w->k, i % w->k));
  return AWQ_CUDA_OK;
}

awq_cuda_status awq_cuda_select(const char* version, const awq_cuda_linear*, awq_cuda_type, int64_t m,
                                const char** name, awq_cuda_message* message) {
  if (!is_known(version)) return say(message, AWQ_CUDA_UNKNOWN_VERSION, std::string("no kernel is called ") + version);
  *name =
      std::strcmp(version, "gemm") == 0 || (std::strcmp(version, "auto") == 0 && m > 16) ? "gemm_fake" : "gemv_fake";
  return AWQ_CUDA_OK;
}

awq_cuda_status awq_cuda_workspace_bytes(const char* version, const awq_cuda_linear*, awq_cuda_type, int64_t m,
                                         size_t* bytes, awq_cuda_message* message) {
  if (!is_known(version)) return say(message, AWQ_CUDA_UNKNOWN_VERSION, std::string("no kernel is called ") + version);
  *bytes = kWorkspaceARow * static_cast<size_t>(m);
  return AWQ_CUDA_OK;
}

awq_cuda_status awq_cuda_forward(const char* version, const awq_cuda_linear* w, awq_cuda_type type, int64_t m,
                                 const void* x, void* y, void* workspace, size_t workspace_bytes, void*,
                                 awq_cuda_message* message) {
  if (!is_known(version)) return say(message, AWQ_CUDA_UNKNOWN_VERSION, std::string("no kernel is called ") + version);
  if (misaligned(x) || misaligned(y) || misaligned(workspace)) return say(message, AWQ_CUDA_MISALIGNED, "misaligned");
  if (workspace_bytes < kWorkspaceARow * static_cast<size_t>(m))
    return say(message, AWQ_CUDA_WORKSPACE_TOO_SMALL, "workspace too small");
  std::memset(workspace, 0xff, workspace_bytes);
  const auto to_float = type == AWQ_CUDA_BF16 ? awq::bf16_to_f32 : awq::f16_to_f32;
  for (int64_t t = 0; t < m; ++t)
    for (int64_t row = 0; row < w->n; ++row) {
      float sum = w->bias == nullptr ? 0 : awq::f16_to_f32(static_cast<const uint16_t*>(w->bias)[row]);
      for (int64_t c = 0; c < w->k; ++c)
        sum += to_float(static_cast<const uint16_t*>(x)[t * w->k + c]) * weight(*w, row, c);
      static_cast<uint16_t*>(y)[t * w->n + row] = type == AWQ_CUDA_BF16 ? awq::f32_to_bf16(sum) : awq::f32_to_f16(sum);
    }
  return say(message, AWQ_CUDA_OK, "");
}

}  // extern "C"
