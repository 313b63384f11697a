// Causal grouped-query attention in float32.
//
//   out[h] = softmax(q[h] k[kv(h)]' / sqrt(d) + mask) v[kv(h)],   kv(h) = h / (heads / kv_heads)
//
// Work: 4 t len d flops a head (half of it masked for a fresh window), against 2 t hidden^2 and more for the linears.
#pragma once
#include <cstdint>
#include <span>

#include "core/matrix_view.h"
#include "core/thread_pool.h"

namespace awq::backend::cpu {

struct AttentionShape {
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  int64_t sliding_window = 0;  // a token sees itself and the sliding_window - 1 before it; 0 = all before it
};

// New tokens of one sequence, at positions [first, first + q.rows); k and v hold positions [0, first + q.rows).
struct AttentionJob {
  MatrixView<const float> q;     // (t, heads * d), rotated
  MatrixView<const float> k, v;  // (first + t, kv_heads * d), k rotated
  MatrixView<float> out;         // (t, heads * d); may be q's memory
  int64_t first = 0;
};

void attention(ThreadPool&, const AttentionShape&, std::span<const AttentionJob>);

}  // namespace awq::backend::cpu
