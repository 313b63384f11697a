// A linear of the running model as it comes from the checkpoint: one, or several that read the same input put together,
// so that each token reads it in one launch. q, k and v follow each other. Of gate and up come eight rows each in turn:
// then the same lane of a product has number i of both (tile_layout.h).
#pragma once
#include <span>
#include <string>
#include <vector>

#include "backend/cuda/plugin.h"

namespace awq::backend::cuda {

inline constexpr int64_t kRowsInTurn = 8;

// Row `i` of part number `part` of two whose rows come in turn.
constexpr int64_t row_in_turn(int64_t part, int64_t i) {
  return (i / kRowsInTurn * 2 + part) * kRowsInTurn + i % kRowsInTurn;
}

struct LinearPart {
  std::string module;  // "model.layers.0.self_attn.q_proj"
  int64_t n = 0;
  bool bias = false;  // where it is stored as floats
};

// Packed when every part is, in a shape that the kernels take; else f16 weights, to which packed parts are rounded.
struct HostLinear {
  int64_t n = 0, k = 0;
  bool is_packed = false;
  // Packed weights: the parts as they are stored, for the device to take apart and put together; or all rows, no bias.
  std::vector<format::StoredLinear> stored;
  bool in_turn = false;  // of stored
  format::QuantizedLinear packed;
  format::SalientColumns salient;  // of packed weights
  std::vector<f16_t> dense;        // (n, k)
  std::vector<f16_t> bias;         // (n) or empty

  int group() const { return stored.empty() ? packed.group : stored[0].group; }
};

// `in_turn`: the rows of two parts of the same size, a multiple of kRowsInTurn. `any_version`: unpacking to f16 is
// allowed; else Error(kBadInput) names the part that no kernel takes.
HostLinear read_linear(const WeightSource&, std::span<const LinearPart>, int64_t k, bool in_turn, bool any_version);

}  // namespace awq::backend::cuda
