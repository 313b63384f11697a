// Many new tokens of a context: rows are (token, query head of one kv head), token by token, so that the heads of a
// group share what is read of their kv head; a block has 64 rows, a warp 16. The four warps walk over the same keys at
// about the same time, so three of four reads are L1's.
//
// Work: 4 c d flop a query head and token for a context of c; prompt of 2048 tokens, Llama-3-8B: 0.034 Tflop a layer
// against 0.9 of its linears.
#pragma once
#include "backend/cuda/run/attend_one.cuh"

namespace awq::backend::cuda {

inline constexpr int kBlockRows = kWarps * 16;

template <int kD>
constexpr int many_smem() {
  return kBlockRows * (kD + 8) * 2;
}

// 16 rows of a segment, as one warp has them.
struct WarpRows {
  int first, all, group;  // first row, rows of the segment, rows a token

  __device__ bool has(int r) const { return first + r < all; }
  __device__ int token(int r) const { return (first + r) / group; }
  __device__ int head(int r) const { return (first + r) % group; }
  __device__ int last_token() const { return (min(first + 16, all) - 1) / group; }
};

template <int kD>
__device__ __forceinline__ void store_rows(const AttentionArgs& a, const Segment& segment, const WarpRows& rows, int kv,
                                           const RowsState<kD>& state, int lane) {
  const int d = a.shape.head_dim;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int r = lane / 4 + 8 * h;
    if (!rows.has(r)) continue;
    const int64_t head = int64_t{segment.row + rows.token(r)} * a.shape.heads + kv * rows.group + rows.head(r);
    const float scale = 1.f / state.total[h];
#pragma unroll
    for (int b = 0; b < kD / 64; ++b)
#pragma unroll
      for (int e = 0; e < 2; ++e) {  // d 64b + 16t + 8e and the seven after it
        const int at = 64 * b + lane % 4 * 16 + 8 * e;
        uint32_t packed[4];
#pragma unroll
        for (int j = 0; j < 4; ++j)
          packed[j] = bits(__floats2half2_rn(state.acc[8 * b + 2 * j][2 * h + e] * scale,
                                             state.acc[8 * b + 2 * j + 1][2 * h + e] * scale));
        if (at < d)
          *reinterpret_cast<uint4*>(a.out + head * d + at) = make_uint4(packed[0], packed[1], packed[2], packed[3]);
      }
  }
}

template <int kD>
__global__ void __launch_bounds__(kAttendThreads) attend_many(AttentionArgs a, const Segment* segments) {
  extern __shared__ __align__(16) unsigned char smem[];
  constexpr int kPitch = kD + 8;
  const AttentionShape& s = a.shape;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, d = s.head_dim, kv = blockIdx.y;
  auto* const q = reinterpret_cast<__half*>(smem) + warp * 16 * kPitch;
  allow_next_kernel();
  wait_for_previous_kernel();
  const Segment segment = segments[blockIdx.z];
  const int all = segment.count * s.group(), blocks = (all + kBlockRows - 1) / kBlockRows;
  const int block = blocks - 1 - static_cast<int>(blockIdx.x);  // the longest contexts first
  if (block < 0) return;
  const WarpRows rows{block * kBlockRows + warp * 16, all, s.group()};
  if (!rows.has(0)) return;

  for (int i = lane; i < 16 * (kD / 8); i += 32) {
    const int r = i / (kD / 8), at = i % (kD / 8) * 8;
    const int64_t row = segment.row + rows.token(r);
    const bool there = rows.has(r) && at < d;
    const __half* from = a.qkv + row * s.qkv_columns() + (kv * s.group() + rows.head(r)) * d + at;
    *reinterpret_cast<uint4*>(q + r * kPitch + at) = load16_or_zero(from, there);
  }
  __syncwarp();

  const HeadCache cache = head_cache(a, segment.slot, kv);
  const int position[2] = {segment.position + rows.token(lane / 4), segment.position + rows.token(lane / 4 + 8)};
  const int window = s.sliding_window > 0 ? s.sliding_window : INT_MAX;
  const int earliest = max(0, segment.position + rows.token(0) - window + 1) / kGroupKeys * kGroupKeys;
  const int end = segment.position + rows.last_token() + 1;
  RowsState<kD> state;
  state.clear();
  const float scale = rsqrtf(static_cast<float>(d)) * 1.44269504f;  // scores in units of log 2
  for (int first = s.sliding_window > 0 ? earliest : 0; first < end; first += kGroupKeys) {
    KeyGroup<kD> keys;
    ValueGroup<kD> values;
    float score[2][4] = {};
    uint32_t weights[4];
    if constexpr (kD <= kMostAtOnce) {
      keys.load(cache, first, end, lane);
      values.load(cache, first, end, lane);
      add_scores(q, kPitch, keys, lane, score);
    } else {
      load_and_score<kD>(q, kPitch, cache, first, end, lane, score);
    }
    const auto visible = [&](int h, int key) {
      return first + key <= position[h] && position[h] - (first + key) < window;
    };
    weigh(state, score, scale, visible, lane, weights);
    if constexpr (kD <= kMostAtOnce)
      add_values(state.acc, weights, values);
    else
      load_and_add_values(state, weights, cache, first, end, lane);
  }
  state.finish();
  store_rows<kD>(a, segment, rows, kv, state, lane);
}

}  // namespace awq::backend::cuda
