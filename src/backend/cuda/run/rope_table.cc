#include "backend/cuda/run/rope_table.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace awq::backend::cuda {
namespace {

constexpr int64_t kFirstPositions = 1024;

}  // namespace

RopeOnDevice::RopeOnDevice(std::vector<float> frequencies, int64_t capacity)
    : frequencies_(std::move(frequencies)), capacity_(capacity) {
  table_.reserve(static_cast<size_t>(capacity) * frequencies_.size() * sizeof(float2));
}

void RopeOnDevice::extend(int64_t positions, cudaStream_t stream) {
  if (positions <= filled_) return;
  const auto doubled = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max(positions, kFirstPositions))));
  const int64_t end = std::min(doubled, capacity_);
  rows_.clear();
  for (int64_t p = filled_; p < end; ++p)
    for (const float f : frequencies_) {
      const double angle = double{static_cast<float>(p) * f};  // rounded to float32 first, as in training
      rows_.push_back({static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))});
    }
  check_cuda(cudaMemcpyAsync(table_.as<float2>() + filled_ * static_cast<int64_t>(frequencies_.size()), rows_.data(),
                             rows_.size() * sizeof(float2), cudaMemcpyHostToDevice, stream),
             "writing the table of rotations");
  filled_ = end;
}

}  // namespace awq::backend::cuda
