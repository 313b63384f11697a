// One decoder block on the device: its linears as stored and as float16, what the search has decided about them, and on
// the host the few vectors (norms, biases) that folding changes.
#pragma once
#include <cuda_fp16.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/cuda/cuda_objects.h"
#include "backend/cuda/quant/stored.h"
#include "backend/device.h"
#include "model/architectures.h"

namespace awq::backend::cuda::quant {

struct DeviceLinear {
  std::string name;             // within the block: "self_attn.q_proj"
  Weight weight;                // as stored
  const __half* f16 = nullptr;  // (n, k), what the forward pass multiplies by
  const float* bias = nullptr;  // (n) or null
  float largest = 0;            // of |w|
  // What the search decides: columns multiplied by a scale, rows divided by that of the next group, limits of the
  // scaled weight. The buffers stay from block to block.
  bool scaled = false, divided = false, clipped = false;
  DeviceBuffer columns, rows, limits;

  Folding folding() const { return {scaled ? columns.as<float>() : nullptr, divided ? rows.as<float>() : nullptr}; }
  const float* clip_limits() const { return clipped ? limits.as<float>() : nullptr; }
};

class DeviceBlock {
 public:
  explicit DeviceBlock(const model::ModelConfig& config) : config_(config) {}

  void load(int64_t layer, std::span<const BlockTensor>, cudaStream_t);
  int64_t layer() const { return layer_; }

  DeviceLinear& linear(std::string_view name);
  const DeviceLinear& linear(std::string_view name) const { return const_cast<DeviceBlock*>(this)->linear(name); }
  // (size) on the device, as loaded; null when there is none and `size` is 0, else Error(kBadInput).
  const float* vector(std::string_view name, int64_t size) const;
  // The linear's bias with scales folded in; null when it has none.
  const FloatTensor* bias(std::string_view linear) const;

  void fold(const model::LayerGroup&, std::span<const float> scale, cudaStream_t);
  FloatTensor folded(std::string_view tensor, DeviceBuffer& scratch, cudaStream_t) const;

 private:
  struct Vector {
    FloatTensor folded;
    int64_t offset;  // of the original on the device, floats
  };
  void load_matrices(std::span<const BlockTensor>, cudaStream_t);
  void load_vectors(std::span<const BlockTensor>, cudaStream_t);
  void inspect_linears(cudaStream_t);
  Vector* find_vector(std::string_view name);
  DeviceLinear& slot(std::string_view name);

  const model::ModelConfig& config_;
  int64_t layer_ = 0;
  std::vector<DeviceLinear> linears_;
  std::vector<Vector> vectors_;
  std::vector<float> staged_vectors_, staged_wide_;  // what is being uploaded
  DeviceBuffer stored_, halves_, vector_memory_, inspections_;
};

}  // namespace awq::backend::cuda::quant
