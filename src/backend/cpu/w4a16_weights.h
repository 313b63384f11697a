// A quantized linear repacked for the CPU kernels, once at load.
//
// A tile is 16 output features. For 8 input features k .. k+7 it holds 16 words, one a feature, lane by lane:
//
//      bit 31  28 27  24 23  20 19  16 15  12 11   8 7    4 3    0
//   w  [ k+7   | k+5   | k+3   | k+1   | k+6  | k+4  | k+2  | k  ]     (w >> 4i) & 0x000f000f = codes of k+2i, k+2i+1
//
// so a shift and a mask give the two int16 factors that vpdpwssd / vpmaddwd multiply by the pair (x[k+2i], x[k+2i+1]).
// Words of a tile follow each other in k: one sequential stream. Group zero points are 16 nibbles of a 64-bit word:
// lane i is nibble i / 2 of half i % 2, the order in which one broadcast and one variable shift spread them. Bits read
// a weight: 4 + (16 * 16 + 64) / (16 * group): 4.156 at group 128.
//
// Groups above 128 are cut into equal blocks of at most 128 (a multiple of 8, the tail padded with code 0 against v =
// 0).
#pragma once
#include <cstdint>

#include "backend/cpu/aligned_buffer.h"
#include "backend/cpu/w4a16_views.h"
#include "format/quantized_linear.h"
#include "format/salient.h"

namespace awq::backend::cpu {

// How k is cut: `group` features share a scale, `block` (padded) an exponent.
struct BlockShape {
  int64_t k, group, block, blocks_per_group;
  int64_t groups() const { return k / group; }
  int64_t blocks() const { return groups() * blocks_per_group; }
  int64_t padded_k() const { return blocks() * block; }
};
BlockShape block_shape(int64_t k, int64_t group);

class PackedWeights {
 public:
  PackedWeights(const format::QuantizedLinear&, const format::SalientColumns&);
  WeightTiles view() const;
  const BlockShape& shape() const { return shape_; }
  int64_t n() const { return n_; }
  int64_t tiles() const { return tiles_; }
  uint64_t bytes() const;

 private:
  void pack_tile(const format::QuantizedLinear&, int64_t tile);
  void pack_delta(const format::SalientColumns&, int64_t tile);

  int64_t n_, tiles_, salient_;
  BlockShape shape_;
  bool has_bias_;
  AlignedBuffer<uint32_t> words_;
  AlignedBuffer<uint16_t> scales_, delta_;
  AlignedBuffer<uint64_t> zeros_;
  AlignedBuffer<float> bias_;
};

}  // namespace awq::backend::cpu
