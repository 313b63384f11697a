#include "backend/cpu/activations.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

namespace awq::backend::cpu {
namespace {

struct FixedBlock {
  int16_t v[kMaxBlock];
  int32_t sum;
  float scale;  // 2^e
};

// Bits of the largest |x|. Bits of non-negative floats order as integers do, and integer maxima vectorize; NaNs are
// largest.
int32_t largest_magnitude_bits(const float* x, int64_t count) {
  int32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::bit_cast<int32_t>(x[i]) & 0x7fffffff);
  return largest;
}

float power_of_two(int exponent) { return std::bit_cast<float>((exponent + 127) << 23); }  // -126 .. 127

// The smallest e with round(max / 2^e) <= 32767, but at least -126 so that 2^e and 2^-e are normal numbers.
int exponent_for(int32_t magnitude_bits) {
  const int e = std::max((magnitude_bits >> 23) - 126 - 15, -126);
  return std::bit_cast<float>(magnitude_bits) * power_of_two(-e) >= 32767.5f ? e + 1 : e;
}

// `count` features of one token; v is zero from there to `padded`.
void fix_block(const float* x, int64_t count, int64_t padded, FixedBlock& out) {
  std::memset(out.v, 0, static_cast<size_t>(padded) * sizeof(int16_t));
  out.sum = 0;
  const int32_t bits = largest_magnitude_bits(x, count);
  if (bits >= 0x7f800000) {
    out.scale = std::numeric_limits<float>::quiet_NaN();
    return;
  }
  const int e = exponent_for(bits);
  const float inverse = power_of_two(-e);
  out.scale = power_of_two(e);
  // Adding 1.5 * 2^23 leaves the nearest integer (ties to even) in the low bits of the sum.
  for (int64_t i = 0; i < count; ++i)
    out.v[i] = static_cast<int16_t>(std::bit_cast<int32_t>(x[i] * inverse + 0x1.8p23f));
  for (int64_t i = 0; i < count; ++i) out.sum += out.v[i];
}

// The pair that the kernels multiply by (z, z 2^11): |sum| <= 128 * 32767 < 2^22 in two int16 digits, negated.
int32_t negated_digits(int32_t sum) {
  const uint32_t low = static_cast<uint16_t>(-(sum % 2048)), high = static_cast<uint16_t>(-(sum / 2048));
  return static_cast<int32_t>(low | high << 16);
}

// to (pairs, width): feature pairs of the tokens side by side.
void interleave(const FixedBlock* tokens, int64_t width, int64_t pairs, int32_t* to) {
  for (int64_t j = 0; j < pairs; ++j)
    for (int64_t t = 0; t < width; ++t) std::memcpy(to + j * width + t, tokens[t].v + 2 * j, sizeof *to);
}

template <class T>
void ensure(AlignedBuffer<T>& buffer, uint64_t count) {
  if (buffer.size() < count) buffer = AlignedBuffer<T>(count);
}

}  // namespace

TokenPanels PackedActivations::pack(ThreadPool& pool, MatrixView<const float> x, const BlockShape& shape,
                                    std::span<const int32_t> salient) {
  const int64_t m = x.rows, blocks = shape.blocks(), pairs_per_block = shape.block / 2;
  ensure(pairs_, checked_mul(m, shape.padded_k() / 2, "the size of packed activations"));
  ensure(sums_, m * blocks);
  ensure(scales_, m * blocks);
  ensure(salient_, m * std::ssize(salient));

  const auto pack_block = [&](int64_t first, int64_t width, int64_t b) {
    const Range in = piece(b % shape.blocks_per_group, shape.block, shape.group);
    const int64_t k = b / shape.blocks_per_group * shape.group + in.begin, at = b * m + first;
    FixedBlock fixed[kPanelM];
    for (int64_t t = 0; t < width; ++t) {
      fix_block(x.row(first + t) + k, in.end - in.begin, shape.block, fixed[t]);
      sums_.data()[at + t] = negated_digits(fixed[t].sum);
      scales_.data()[at + t] = fixed[t].scale;
    }
    interleave(fixed, width, pairs_per_block, pairs_.data() + at * pairs_per_block);
  };
  const auto pack_salient = [&](int64_t first, int64_t width) {
    for (int64_t c = 0; c < std::ssize(salient); ++c)
      for (int64_t t = 0; t < width; ++t) salient_.data()[c * m + first + t] = x(first + t, salient[c]);
  };

  // About 16 K numbers a task: some 5 us, several times what handing it to another thread costs.
  const int64_t step = std::max<int64_t>(1, (16 << 10) / (std::min<int64_t>(m, kPanelM) * shape.block));
  const int64_t across = pieces(blocks, step);
  pool.parallel_for(pieces(m, kPanelM) * across, [&](int64_t task) {
    const Range tokens = piece(task / across, kPanelM, m), part = piece(task % across, step, blocks);
    const int64_t width = tokens.end - tokens.begin;
    for (int64_t b = part.begin; b < part.end; ++b) pack_block(tokens.begin, width, b);
    if (part.begin == 0) pack_salient(tokens.begin, width);
  });
  return {pairs_.data(), sums_.data(), scales_.data(), salient_.data(), m};
}

}  // namespace awq::backend::cpu
