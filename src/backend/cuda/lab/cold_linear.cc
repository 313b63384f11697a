#include "backend/cuda/lab/cold_linear.h"

#include <algorithm>
#include <cmath>

#include "awq/error.h"
#include "backend/cuda/lab/random_data.h"

namespace awq::backend::cuda::lab {
namespace {

constexpr uint64_t kCodeSeed = 1, kZeroSeed = 2, kScaleSeed = 3, kDenseSeed = 6;

size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

uint64_t cold_total(uint64_t asked, uint64_t l2_bytes) { return std::max(asked, 2 * l2_bytes); }

int cold_copies(uint64_t bytes, uint64_t total) {
  return static_cast<int>(std::clamp<uint64_t>((total + bytes - 1) / bytes, 2, 4096));
}

void check_status(awq_cuda_status status, const awq_cuda_message& message) {
  if (status == AWQ_CUDA_OK) return;
  const bool device = status == AWQ_CUDA_NOT_SUPPORTED || status == AWQ_CUDA_FAILED;
  throw Error(device ? ErrorKind::kDevice : ErrorKind::kBadInput, message.text);
}

void ColdLinear::make(int64_t n, int64_t k, int group, uint64_t total, cudaStream_t stream) {
  if (plain_.n == n && plain_.k == k && plain_.group == group && total_ == total) return;
  plain_ = {.n = n, .k = k, .group = group};
  total_ = total;
  dense_copies_ = 0;
  fill_plain(stream);
  fill_copies(stream);
}

void ColdLinear::fill_plain(cudaStream_t stream) {
  const int64_t weights = plain_.n * plain_.k, groups = weights / plain_.group;
  codes_.reserve(static_cast<size_t>(weights));
  zeros_.reserve(static_cast<size_t>(groups));
  scales_.reserve(static_cast<size_t>(groups) * 2);
  fill_codes(codes_.as<uint8_t>(), weights, kCodeSeed, stream);
  fill_codes(zeros_.as<uint8_t>(), groups, kZeroSeed, stream);
  // q - z has a deviation of sqrt(2 * 255 / 12) = 6.5: y comes out with a deviation of about 1 for every k.
  fill_scales(scales_.as(), groups, 1.f / (6.5f * std::sqrt(static_cast<float>(plain_.k))), kScaleSeed, stream);
  plain_.q = codes_.as<uint8_t>();
  plain_.z = zeros_.as<uint8_t>();
  plain_.s = scales_.as();
}

void ColdLinear::fill_copies(cudaStream_t stream) {
  const awq_cuda_bytes bytes = awq_cuda_layout_bytes(plain_.n, plain_.k, plain_.group);
  if (bytes.qweight == 0)
    throw Error(ErrorKind::kBadInput, "no CUDA kernel takes n = " + std::to_string(plain_.n) + ", k = " +
                                          std::to_string(plain_.k) + ", group = " + std::to_string(plain_.group));
  const size_t scales_at = aligned(bytes.qweight), zeros_at = scales_at + aligned(bytes.scales);
  const size_t step = zeros_at + aligned(bytes.zeros);
  copies_ = cold_copies(step, total_);
  packed_.reserve(step * static_cast<size_t>(copies_));
  linears_.clear();
  for (int i = 0; i < copies_; ++i) {
    const size_t at = step * static_cast<size_t>(i);
    awq_cuda_linear linear{};
    linear.n = plain_.n;
    linear.k = plain_.k;
    linear.group_size = plain_.group;
    linear.qweight = packed_.as(at);
    linear.scales = packed_.as(at + scales_at);
    linear.zeros = packed_.as(at + zeros_at);
    linears_.push_back(linear);
  }
  const awq_cuda_source source{AWQ_CUDA_LAYOUT_PLAIN, plain_.q, plain_.z, plain_.s};
  awq_cuda_message message{};
  check_status(awq_cuda_repack(&source, &linears_[0], stream, &message), message);
  for (int i = 1; i < copies_; ++i)
    check_cuda(cudaMemcpyAsync(packed_.as(step * static_cast<size_t>(i)), packed_.as(), step, cudaMemcpyDeviceToDevice,
                               stream),
               "copying weights");
}

int ColdLinear::dense_copies(cudaStream_t stream) {
  if (dense_copies_ > 0) return dense_copies_;
  const size_t bytes = static_cast<size_t>(plain_.n * plain_.k) * 2;
  const int copies = cold_copies(bytes, total_);
  dense_.reserve(bytes * static_cast<size_t>(copies));
  fill_normal(dense_.as(), plain_.n * plain_.k * copies, false, kDenseSeed, stream);
  return dense_copies_ = copies;
}

const void* ColdLinear::dense(int i) const {
  return dense_.as(static_cast<size_t>(plain_.n * plain_.k) * 2 * static_cast<size_t>(i));
}

}  // namespace awq::backend::cuda::lab
