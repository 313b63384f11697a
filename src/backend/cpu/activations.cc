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

// One token's block as digits: a row of `step` bytes a step at `to`, the low digits kDigitM rows behind the high ones.
void write_digits(const FixedBlock& token, int64_t features, int64_t step, uint8_t* to) {
  constexpr uint64_t kLow = 0x00ff00ff00ff00ffu;
  uint8_t high[kMaxBlock], low[kMaxBlock];
  for (int64_t i = 0; i < features; i += 8) {
    uint64_t first, last;  // four int16 each
    std::memcpy(&first, token.v + i, 8);
    std::memcpy(&last, token.v + i + 4, 8);
    const uint64_t h = (first >> 8 & kLow) | (last & ~kLow), l = (first & kLow) | (last & kLow) << 8;
    std::memcpy(high + i, &h, 8);
    std::memcpy(low + i, &l, 8);
  }
  for (int64_t i = 0; i < features; i += step, to += 2 * kDigitM * step) {
    std::memcpy(to, high + i, static_cast<size_t>(step));
    std::memcpy(to + kDigitM * step, low + i, static_cast<size_t>(step));
  }
}

template <class T>
void ensure(AlignedBuffer<T>& buffer, uint64_t count) {
  if (buffer.size() < count) buffer = AlignedBuffer<T>(count);
}

}  // namespace

TokenPanels PackedActivations::pack(ThreadPool& pool, MatrixView<const float> x, const BlockShape& shape,
                                    std::span<const int32_t> salient, TokenLayout layout) {
  const bool digits = layout == TokenLayout::kDigits;
  const int64_t panel = digits ? kDigitM : kPanelM, m = digits ? pieces(x.rows, panel) * panel : x.rows;
  const int64_t blocks = shape.blocks(), digit_step = shape.block / pieces(shape.block, kDigitK);
  const uint64_t count = checked_mul(m, shape.padded_k(), "the size of packed activations");
  if (digits)
    ensure(digits_, checked_mul(count, 2, "the size of packed activations"));
  else
    ensure(pairs_, count / 2);
  ensure(sums_, m * blocks);
  ensure(scales_, m * blocks);
  ensure(salient_, m * std::ssize(salient));

  const auto pack_block = [&](int64_t first, int64_t tokens, int64_t b) {
    const Range in = piece(b % shape.blocks_per_group, shape.block, shape.group);
    const int64_t k = b / shape.blocks_per_group * shape.group + in.begin, at = b * m + first;
    FixedBlock fixed[kDigitM];
    for (int64_t t = 0; t < tokens; ++t) {
      fix_block(x.row(first + t) + k, in.end - in.begin, shape.block, fixed[t]);
      scales_.data()[at + t] = fixed[t].scale;
      if (digits)
        write_digits(fixed[t], shape.block, digit_step, digits_.data() + at * shape.block * 2 + t * digit_step);
      else
        sums_.data()[at + t] = negated_digits(fixed[t].sum);
    }
    if (!digits) interleave(fixed, tokens, shape.block / 2, pairs_.data() + at * shape.block / 2);
  };
  const auto pack_salient = [&](int64_t first, int64_t tokens) {
    for (int64_t c = 0; c < std::ssize(salient); ++c)
      for (int64_t t = 0; t < tokens; ++t) salient_.data()[c * m + first + t] = x(first + t, salient[c]);
  };

  // About 16 K numbers a task: some 5 us, several times what handing it to another thread costs.
  const int64_t step = std::max<int64_t>(1, (16 << 10) / (std::min<int64_t>(m, panel) * shape.block));
  const int64_t across = pieces(blocks, step);
  pool.parallel_for(pieces(m, panel) * across, [&](int64_t task) {
    const Range tokens = piece(task / across, panel, x.rows), part = piece(task % across, step, blocks);
    const int64_t width = tokens.end - tokens.begin;
    for (int64_t b = part.begin; b < part.end; ++b) pack_block(tokens.begin, width, b);
    if (part.begin == 0) pack_salient(tokens.begin, width);
  });
  return {.pairs = pairs_.data(),
          .digits = digits_.data(),
          .digit_step = digit_step,
          .sums = sums_.data(),
          .scales = scales_.data(),
          .salient = salient_.data(),
          .m = m};
}

}  // namespace awq::backend::cpu
