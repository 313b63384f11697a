#include "backend/cuda/arguments.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>

#include "backend/cuda/failure.h"
#include "format/layouts.h"

namespace awq::backend::cuda {
namespace {

constexpr uintptr_t kAlignment = 16;     // one load of a lane
constexpr int64_t kLargest = INT32_MAX;  // kernels count rows and columns in 32 bits

[[noreturn]] void fail(awq_cuda_status status, std::string text) { throw Failure(status, std::move(text)); }

bool is_size(int64_t value, int64_t step) { return value >= step && value <= kLargest && value % step == 0; }

std::string why_not_layout(int64_t n, int64_t k, int64_t group) {
  if (!is_size(n, 8)) return fmt::format("n must be a positive multiple of 8, n = {}", n);
  if (!is_size(k, 8)) return fmt::format("k must be a positive multiple of 8, k = {}", k);
  if (!tile_layout_takes_group(k, group))
    return fmt::format("group_size must divide k and be 32, 64, a multiple of 128, or k; group_size = {}, k = {}",
                       group, k);
  return {};
}

// In the order of awq_cuda_layout; PLAIN has no file format behind it and takes what the tile layout takes.
constexpr std::array<const format::LayoutRow*, 4> kFileLayouts = {nullptr, &format::kGemmRow, &format::kGemvRow,
                                                                  &format::kGemvFastRow};

}  // namespace

void require_pointer(const void* pointer, const char* name) {
  if (pointer == nullptr) fail(AWQ_CUDA_MISALIGNED, fmt::format("{} is null", name));
  if (reinterpret_cast<uintptr_t>(pointer) % kAlignment != 0)
    fail(AWQ_CUDA_MISALIGNED, fmt::format("{} = {} is not a multiple of {} bytes", name, pointer, kAlignment));
}

void require_type(awq_cuda_type type) {
  if (type != AWQ_CUDA_F16 && type != AWQ_CUDA_BF16)
    fail(AWQ_CUDA_BAD_ARGUMENT, fmt::format("type must be AWQ_CUDA_F16 or AWQ_CUDA_BF16, not {}", int{type}));
}

void require_rows(int64_t m) {
  if (m < 1 || m > kLargest) fail(AWQ_CUDA_BAD_SHAPE, fmt::format("m must be 1 .. {}, m = {}", kLargest, m));
}

bool is_layout(int64_t n, int64_t k, int64_t group_size) { return why_not_layout(n, k, group_size).empty(); }

TileLayout checked_layout(const awq_cuda_linear* w) {
  if (w == nullptr) fail(AWQ_CUDA_BAD_ARGUMENT, "the linear is null");
  if (std::string why = why_not_layout(w->n, w->k, w->group_size); !why.empty()) fail(AWQ_CUDA_BAD_SHAPE, why);
  return {.n = w->n, .k = w->k, .group = w->group_size};
}

void require_weights(const awq_cuda_linear& w) {
  require_pointer(w.qweight, "qweight");
  require_pointer(w.scales, "scales");
  require_pointer(w.zeros, "zeros");
}

void require_extras(const awq_cuda_linear& w) {
  if (w.bias != nullptr) require_pointer(w.bias, "bias");
  if (w.salient_count < 0 || w.salient_count > w.k)
    fail(AWQ_CUDA_BAD_ARGUMENT, fmt::format("salient_count must be 0 .. k = {}, not {}", w.k, w.salient_count));
  if (w.salient_count == 0) return;
  require_pointer(w.salient_index, "salient_index");
  require_pointer(w.salient_delta, "salient_delta");
}

void require_source(const awq_cuda_source* from, const TileLayout& layout) {
  if (from == nullptr) fail(AWQ_CUDA_BAD_ARGUMENT, "the source is null");
  if (from->layout < 0 || static_cast<size_t>(from->layout) >= kFileLayouts.size())
    fail(AWQ_CUDA_BAD_ARGUMENT, fmt::format("there is no awq_cuda_layout {}", int{from->layout}));
  if (const format::LayoutRow* file = kFileLayouts[from->layout])
    if (std::string why = file->refusal(layout.n, layout.k, layout.group); !why.empty()) fail(AWQ_CUDA_BAD_SHAPE, why);
  require_pointer(from->qweight, "qweight of the source");
  require_pointer(from->qzeros, "qzeros of the source");
  require_pointer(from->scales, "scales of the source");
}

}  // namespace awq::backend::cuda
