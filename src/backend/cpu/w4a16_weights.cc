#include "backend/cpu/w4a16_weights.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/checked.h"
#include "core/thread_pool.h"

namespace awq::backend::cpu {
namespace {

static_assert(std::endian::native == std::endian::little, "words are built from bytes in memory order");

// Four bytes at distance 16 bits, each below 16, to four nibbles.
uint32_t gather_nibbles(uint64_t bytes) {
  bytes |= bytes >> 12;  // bits 0-7: first and second, bits 32-39: third and fourth
  bytes &= 0x000000ff000000ffu;
  return static_cast<uint32_t>((bytes | bytes >> 24) & 0xffff);
}

// 8 codes, one a byte, to the word of the diagram.
uint32_t pack_word(const uint8_t* codes) {
  uint64_t bytes;
  std::memcpy(&bytes, codes, 8);
  constexpr uint64_t kEven = 0x000f000f000f000fu;
  return gather_nibbles(bytes & kEven) | gather_nibbles(bytes >> 8 & kEven) << 16;
}

}  // namespace

BlockShape block_shape(int64_t k, int64_t group) {
  AWQ_ASSERT(group > 0 && k > 0 && k % group == 0);
  const int64_t parts = pieces(group, kMaxBlock);
  return {k, group, pieces(pieces(group, parts), 8) * 8, parts};
}

PackedWeights::PackedWeights(const format::QuantizedLinear& linear, const format::SalientColumns& salient)
    : n_(linear.n),
      tiles_(pieces(linear.n, kTileN)),
      salient_(std::ssize(salient.index)),
      shape_(block_shape(linear.k, linear.group)),
      has_bias_(!linear.bias.empty()) {
  const auto count = [](int64_t a, int64_t b) { return checked_mul(a, b, "the size of a packed linear"); };
  AWQ_ASSERT(linear.q.size() == count(n_, linear.k) && linear.zeros.size() == count(n_, shape_.groups()));
  AWQ_ASSERT(linear.scales.size() == linear.zeros.size() && (!has_bias_ || std::ssize(linear.bias) == n_));
  AWQ_ASSERT(salient.delta.size() == count(salient_, n_));
  words_ = AlignedBuffer<uint32_t>(count(tiles_, shape_.padded_k() / 8 * kTileN));
  scales_ = AlignedBuffer<uint16_t>(count(tiles_, shape_.groups() * kTileN));
  zeros_ = AlignedBuffer<uint64_t>(count(tiles_, shape_.groups()));
  bias_ = AlignedBuffer<float>(count(tiles_, kTileN));
  delta_ = AlignedBuffer<uint16_t>(count(tiles_, salient_ * kTileN));
  for (int64_t tile = 0; tile < tiles_; ++tile) {
    pack_tile(linear, tile);
    pack_delta(salient, tile);
  }
}

void PackedWeights::pack_tile(const format::QuantizedLinear& linear, int64_t tile) {
  const int64_t groups = shape_.groups(), words_per_block = shape_.block / 8;
  for (int lane = 0; lane < kTileN && tile * kTileN + lane < n_; ++lane) {
    const int64_t row = tile * kTileN + lane;
    if (has_bias_) bias_.data()[row] = f16_to_f32(linear.bias[row]);
    for (int64_t g = 0; g < groups; ++g) {
      scales_.data()[(tile * groups + g) * kTileN + lane] = linear.scales[row * groups + g];
      zeros_.data()[tile * groups + g] |= uint64_t{linear.zeros[row * groups + g] & 15u}
                                          << (lane % 2 * 32 + lane / 2 * 4);
      for (int64_t b = 0; b < shape_.blocks_per_group; ++b) {
        const Range in = piece(b, shape_.block, shape_.group);
        const uint8_t* codes = linear.q.data() + row * linear.k + g * shape_.group + in.begin;
        const int64_t block = (tile * groups + g) * shape_.blocks_per_group + b;
        uint32_t* words = words_.data() + block * words_per_block * kTileN + lane;
        int64_t i = 0;
        for (; i + 8 <= in.end - in.begin; i += 8) words[i / 8 * kTileN] = pack_word(codes + i);
        if (i >= in.end - in.begin) continue;
        uint8_t tail[8] = {};
        std::copy(codes + i, codes + (in.end - in.begin), tail);
        words[i / 8 * kTileN] = pack_word(tail);
      }
    }
  }
}

void PackedWeights::pack_delta(const format::SalientColumns& salient, int64_t tile) {
  const int64_t lanes = std::min<int64_t>(kTileN, n_ - tile * kTileN);
  for (int64_t c = 0; c < salient_; ++c)
    std::copy_n(salient.delta.data() + c * n_ + tile * kTileN, lanes, delta_.data() + (tile * salient_ + c) * kTileN);
}

WeightTiles PackedWeights::view() const {
  return {.words = words_.data(),
          .scales = scales_.data(),
          .zeros = zeros_.data(),
          .bias = bias_.data(),
          .delta = delta_.data(),
          .n = n_,
          .groups = shape_.groups(),
          .blocks_per_group = shape_.blocks_per_group,
          .words_per_block = shape_.block / 8,
          .salient = salient_};
}

uint64_t PackedWeights::bytes() const {
  return words_.bytes() + scales_.bytes() + zeros_.bytes() + delta_.bytes() + (has_bias_ ? bias_.bytes() : 0);
}

}  // namespace awq::backend::cpu
