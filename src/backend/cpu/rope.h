// Rotary position embeddings: cosines and sines for positions 0, 1, 2, ..., extended as a context grows.
#pragma once
#include <cstdint>
#include <vector>

#include "model/config.h"

namespace awq::backend::cpu {

// Inverse frequencies of the head_dim / 2 pairs with the checkpoint's scaling applied; rounded to float32, as the
// models were trained.
std::vector<float> rope_frequencies(const model::Rope&, int64_t head_dim);

class RopeTable {
 public:
  RopeTable(const model::Rope&, int64_t head_dim);
  void extend(int64_t positions);  // afterwards cos(p) and sin(p) hold for p < positions
  const float* cos(int64_t position) const { return cos_.data() + position * half(); }  // (head_dim / 2)
  const float* sin(int64_t position) const { return sin_.data() + position * half(); }
  int64_t half() const { return static_cast<int64_t>(frequencies_.size()); }

 private:
  std::vector<float> frequencies_, cos_, sin_;
};

}  // namespace awq::backend::cpu
