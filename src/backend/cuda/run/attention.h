// Causal grouped-query attention over paged keys and values, in f16 with float32 sums:
//
//   out[h] = softmax(q[h] k[kv(h)]' / sqrt(d) + mask) v[kv(h)],   kv(h) = h / (heads / kv_heads)
//
// A step with one new token a context is one launch: it rotates q and k, appends k and v to the cache and attends, with
// the context split over blocks (launch_attend_one). Many new tokens take two: launch_append, then launch_attend_many.
#pragma once
#include <cuda_fp16.h>

#include "backend/cuda/run/step.h"
#include "backend/cuda/tile_layout.h"

namespace awq::backend::cuda {

struct AttentionShape {
  int heads = 0, kv_heads = 0, head_dim = 0;  // head_dim % 8 == 0, at most 256
  int sliding_window = 0;                     // a token sees itself and the window - 1 before it; 0 = all before it
  int layer = 0;

  AWQ_HD int group() const { return heads / kv_heads; }
  AWQ_HD int64_t qkv_columns() const { return int64_t{heads + 2 * kv_heads} * head_dim; }
};

struct AttentionArgs {
  AttentionShape shape;
  __half* qkv = nullptr;  // (rows, heads + 2 kv_heads, d): q, k, v; launch_append leaves q rotated
  __half* out = nullptr;  // (rows, heads, d)
  const StepRow* rows = nullptr;
  int64_t m = 0;
  PageTable pages;
  const float2* rope = nullptr;                      // (positions, d / 2): cosine, sine
  const float *q_norm = nullptr, *k_norm = nullptr;  // (d) or null: RMS norm over each head before the rotation
  float norm_eps = 0;
};

inline constexpr int kMostHeadDim = 256;
constexpr bool attention_takes(int64_t head_dim) {
  return head_dim > 0 && head_dim % 8 == 0 && head_dim <= kMostHeadDim;
}
int64_t page_bytes(const AttentionShape&, int64_t layers);

// Blocks that share one context and kv head at `m` rows; the launch is the same for every length.
int attention_splits(const AttentionShape&, int64_t m, int sms);

// Scratch of launch_attend_one: what a split leaves for the block that ends last. `tickets` must be zero before the
// first launch, and are zero after each.
struct SplitScratch {
  float* partials = nullptr;   // split_floats() of them
  int32_t* tickets = nullptr;  // split_tickets()
};
int64_t split_floats(const AttentionShape&, int64_t m, int splits);
int64_t split_tickets(const AttentionShape&, int64_t m);

// One new token each: row r of m. Reads rows, pages and older keys before the preceding kernel has ended: they must be
// older than that one.
cudaError_t launch_attend_one(const AttentionArgs&, int splits, const SplitScratch&, const LaunchTarget&);

// Rotates q in place and appends rotated k, and v, to the cache.
cudaError_t launch_append(const AttentionArgs&, const LaunchTarget&);
// After launch_append: every segment's rows, `most_rows` of the longest. `segments` is device memory.
cudaError_t launch_attend_many(const AttentionArgs&, const Segment* segments, int count, int most_rows,
                               const LaunchTarget&);

}  // namespace awq::backend::cuda
