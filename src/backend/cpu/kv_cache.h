// Keys and values of one sequence, float32, growing with its context: 8 layers kv_heads head_dim bytes a token (256 kB
// for Llama-3-8B). Vectors double as they grow, so a token loop reallocates O(log length) times and otherwise never.
#pragma once
#include <cstdint>
#include <vector>

#include "core/matrix_view.h"

namespace awq::backend::cpu {

class KvCache {
 public:
  KvCache(int64_t layers, int64_t width) : width_(width), layers_(layers) {}  // width = kv_heads * head_dim

  int64_t length() const { return length_; }
  void clear() {
    for (Layer& layer : layers_) layer.k.clear(), layer.v.clear();
    length_ = 0;
  }
  // Every layer appends the rows of the same new tokens; then advance() makes them part of the context.
  void append(int64_t layer, MatrixView<const float> k, MatrixView<const float> v) {
    layers_[layer].k.insert(layers_[layer].k.end(), k.data, k.data + k.rows * width_);
    layers_[layer].v.insert(layers_[layer].v.end(), v.data, v.data + v.rows * width_);
  }
  void advance(int64_t tokens) { length_ += tokens; }
  MatrixView<const float> keys(int64_t layer) const { return rows(layers_[layer].k); }  // (length, width)
  MatrixView<const float> values(int64_t layer) const { return rows(layers_[layer].v); }

 private:
  struct Layer {
    std::vector<float> k, v;  // (length, width)
  };
  MatrixView<const float> rows(const std::vector<float>& data) const {
    return {data.data(), static_cast<int64_t>(data.size()) / width_, width_};
  }
  int64_t width_, length_ = 0;
  std::vector<Layer> layers_;
};

}  // namespace awq::backend::cpu
