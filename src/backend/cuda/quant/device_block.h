// One decoder block on the device: its linears as stored and as float16, what the search has decided about them, and on
// the host the few vectors (norms, biases) that folding changes. On a card too small for a block its weights stay on
// the host, and one linear at a time is on the device: the one asked for last.
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
  int64_t host_offset = 0;      // of the weights among those that are kept on the host
  // What the search decides: columns multiplied by a scale, rows divided by that of the next group, limits of the
  // scaled weight. The buffers stay from block to block.
  bool scaled = false, divided = false, clipped = false;
  DeviceBuffer columns, rows, limits;

  Folding folding() const { return {scaled ? columns.as<float>() : nullptr, divided ? rows.as<float>() : nullptr}; }
  const float* clip_limits() const { return clipped ? limits.as<float>() : nullptr; }
};

class DeviceBlock {
 public:
  DeviceBlock(bool streams_linears, cudaStream_t stream) : streams_(streams_linears), stream_(stream) {}

  void load(int64_t layer, std::span<const BlockTensor>);
  int64_t layer() const { return layer_; }

  // Its weights are there for what is launched next on the stream; until another linear is asked for, where the block
  // streams.
  DeviceLinear& linear(std::string_view name);
  const DeviceLinear& described(std::string_view name) const;  // the same without its weights
  // (size) on the device, as loaded; null when there is none and `size` is 0, else Error(kBadInput).
  const float* vector(std::string_view name, int64_t size) const;
  // The linear's bias with scales folded in; null when it has none.
  const FloatTensor* bias(std::string_view linear) const;

  void fold(const model::LayerGroup&, std::span<const float> scale);
  FloatTensor folded(std::string_view tensor, DeviceBuffer& scratch);

 private:
  struct Vector {
    FloatTensor folded;
    int64_t offset;  // of the original on the device, floats
  };
  void load_matrices(std::span<const BlockTensor>);
  void place(const BlockTensor&, int64_t stored, int64_t halves);
  void load_vectors(std::span<const BlockTensor>);
  void inspect_linears();
  void inspect_linear(size_t index);
  void bring(size_t index);
  Vector* find_vector(std::string_view name);
  DeviceLinear& slot(std::string_view name);
  void upload_floats(DeviceBuffer& to, std::span<const float> from);

  const bool streams_;
  const cudaStream_t stream_;
  int64_t layer_ = 0;
  std::vector<DeviceLinear> linears_;
  PinnedBuffer host_;    // where the block streams: the weights of all linears, each kAlign bytes aligned
  size_t resident_ = 0;  // where the block streams: of linears_
  std::vector<Vector> vectors_;
  std::vector<float> staged_vectors_, staged_wide_;  // what is being uploaded
  DeviceBuffer stored_, halves_, vector_memory_, inspections_;
};

}  // namespace awq::backend::cuda::quant
