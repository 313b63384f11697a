// Activations as 16-bit block fixed point, in panels of 8 or 16 tokens: what the W4A16 kernels read (w4a16_views.h).
//
// Rounding: v = nearest even of x / 2^e with 2^e <= max|x| / 2^14, so |x - v 2^e| <= 2^(e-1) <= 2^-15 max|x| of the
// block. In root mean square that is 2^-12.3 of the block's rms at worst (one outlier: max = sqrt(128) rms), what
// rounding to fp16 costs anyway, and 2^-14 for a usual block (max = 3 rms). Multiples of 2^e, such as small integers,
// are exact. A block with an infinity or a NaN becomes NaN in every output of its token.
#pragma once
#include <cstdint>
#include <span>

#include "backend/cpu/aligned_buffer.h"
#include "backend/cpu/w4a16_views.h"
#include "backend/cpu/w4a16_weights.h"
#include "core/matrix_view.h"
#include "core/thread_pool.h"

namespace awq::backend::cpu {

// Grows as needed and is meant to be reused: packing allocates only when a call is larger than all before it.
class PackedActivations {
 public:
  // x (m, k); `salient` are the channels that the fp16 correction reads.
  TokenPanels pack(ThreadPool&, MatrixView<const float> x, const BlockShape&, std::span<const int32_t> salient,
                   TokenLayout = TokenLayout::kPairs);

 private:
  AlignedBuffer<int32_t> pairs_, sums_;
  AlignedBuffer<uint8_t> digits_;
  AlignedBuffer<float> scales_, salient_;
};

}  // namespace awq::backend::cpu
