// One new token a context: a block has the query heads of one kv head (16 rows of the product, or 8) and one part of
// the context; its four warps take 16 keys each in turn. The parts' sums meet in the block that ends last, in order of
// the parts, so the same input gives the same bits. Keys and values older than the step are read before the projection
// in front has ended (9.0); q is rotated here, and the block whose part ends with the new token appends its key and
// value.
//
// Bytes, context c: 4 c d a kv head; 2.6 MB a layer of Llama-3-8B at c = 640, 0.6 us of an H200: latency decides.
#pragma once
#include "backend/cuda/run/attend_rows.cuh"
#include "backend/cuda/run/attention.h"
#include "backend/cuda/run/last_block.cuh"
#include "backend/cuda/run/rotate_head.cuh"

namespace awq::backend::cuda {

inline constexpr int kWarps = 4, kAttendThreads = 32 * kWarps, kStepKeys = kWarps * kGroupKeys;
inline constexpr int kMostSplits = 64;

__device__ constexpr int round_up_to_step(int keys) { return (keys + kStepKeys - 1) / kStepKeys * kStepKeys; }

// The part of a context that a block attends to.
struct Part {
  int begin, first, end;  // the first visible key; where the part starts, a multiple of 16; where it ends
  int used;               // parts with keys in them

  __device__ Part(const AttentionShape& shape, int position, int split, int splits) {
    begin = shape.sliding_window > 0 ? max(0, position + 1 - shape.sliding_window) : 0;
    const int start = begin / kGroupKeys * kGroupKeys, all = position + 1 - start;
    const int length = round_up_to_step((all + splits - 1) / splits);
    used = (all + length - 1) / length;
    first = start + split * length;
    end = min(first + length, position + 1);
  }
};

template <int kD>
inline constexpr int kSums = kD > kMostAtOnce ? 2 : 4;  // of RowsState

template <int kD>
struct OneShape {
  static constexpr int kRows = kD > 128 ? 8 : 16;  // query heads a block: what its sums in shared memory leave room for
  static constexpr int kQPitch = kD + 8;           // halves; 8 over, so that rows fall into different banks
  static constexpr int kSumPitch = kD + 4;
  static constexpr int kSumsAt = 16 * kQPitch * 2;                           // bytes: [warp][row][kSumPitch] float
  static constexpr int kStatsAt = kSumsAt + kWarps * kRows * kSumPitch * 4;  // [warp][row] {most, total}
  static constexpr int kSmem = kStatsAt + kWarps * kRows * 8;
};

__device__ __forceinline__ HeadCache head_cache(const AttentionArgs& a, int slot, int kv) {
  const AttentionShape& s = a.shape;
  const int64_t head = int64_t{kPageTokens} * s.head_dim;
  const int64_t keys = (int64_t{2} * s.layer * s.kv_heads + kv) * head;
  return {a.pages.pages + int64_t{slot} * a.pages.pages_a_slot, keys, keys + s.kv_heads * head, s.head_dim};
}

__device__ __forceinline__ void copy_head(const __half* from, __half* to, int d, int lane) {
  if (lane < d / 8) reinterpret_cast<uint4*>(to)[lane] = reinterpret_cast<const uint4*>(from)[lane];
}

// Merges `count` sums of one row: weights them by 2^(most - the largest most). most_of(i), total_of(i), sum_of(i).
template <class MostOf, class TotalOf, class SumOf>
__device__ __forceinline__ float3 merged(int count, MostOf most_of, TotalOf total_of, SumOf sum_of) {
  float most = kNothing, total = 0.f, sum = 0.f;
  for (int i = 0; i < count; ++i) most = fmaxf(most, most_of(i));
  const float base = most == kNothing ? 0.f : most;
  for (int i = 0; i < count; ++i) {
    const float weight = exp2f(most_of(i) - base);
    total += total_of(i) * weight;
    sum += sum_of(i) * weight;
  }
  return make_float3(sum, total, most);
}

template <int kD>
__device__ __forceinline__ void leave_in_shared(const RowsState<kD, kSums<kD>>& state, float* sums, float2* stats,
                                                int warp, int lane) {
  using Shape = OneShape<kD>;
#pragma unroll
  for (int h = 0; h < Shape::kRows / 8; ++h) {
    const int row = warp * Shape::kRows + lane / 4 + 8 * h;
    float* to = sums + row * Shape::kSumPitch + lane % 4 * 16;
#pragma unroll
    for (int b = 0; b < kD / 64; ++b)
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        to[64 * b + j] = state.acc[8 * b + j][2 * h];
        to[64 * b + 8 + j] = state.acc[8 * b + j][2 * h + 1];
      }
    if (lane % 4 == 0) stats[row] = make_float2(state.most[h], state.total[h]);
  }
}

template <int kD>
__global__ void __launch_bounds__(kAttendThreads) attend_one(AttentionArgs a, SplitScratch scratch) {
  using Shape = OneShape<kD>;
  extern __shared__ __align__(16) unsigned char smem[];
  auto* const q = reinterpret_cast<__half*>(smem);
  auto* const sums = reinterpret_cast<float*>(smem + Shape::kSumsAt);
  auto* const stats = reinterpret_cast<float2*>(smem + Shape::kStatsAt);
  const AttentionShape& s = a.shape;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, d = s.head_dim, group = s.group();
  const int kv = blockIdx.y % s.kv_heads, first_head = blockIdx.y / s.kv_heads * Shape::kRows;  // within the group
  const int heads = min(Shape::kRows, group - first_head);
  allow_next_kernel();
  const StepRow row = a.rows[blockIdx.z];
  const Part part(s, max(row.position, 0), blockIdx.x, gridDim.x);
  if (row.slot < 0 || part.first >= part.end) {
    wait_for_previous_kernel();  // whoever waits for this kernel waits for those before it too
    return;
  }
  const HeadCache cache = head_cache(a, row.slot, kv);
  const int start = part.first + warp * kGroupKeys;
  // Without the new token; beyond 128 there are no registers to hold them.
  const bool ahead = kD <= kMostAtOnce && start + kGroupKeys <= row.position && start < part.end;
  KeyGroup<kD> keys;
  ValueGroup<kD> values;
  if (ahead) {
    keys.load(cache, start, part.end, lane);
    values.load(cache, start, part.end, lane);
  }
  wait_for_previous_kernel();

  const __half* const projected = a.qkv + blockIdx.z * s.qkv_columns();
  const float2* const rope = a.rope + int64_t{row.position} * (d / 2);
  for (int i = threadIdx.x; i < 16 * Shape::kQPitch / 8; i += kAttendThreads)
    reinterpret_cast<uint4*>(q)[i] = make_uint4(0, 0, 0, 0);
  __syncthreads();
  for (int r = warp; r < heads; r += kWarps)
    rotate_head(projected + (kv * group + first_head + r) * d, d, {a.q_norm, a.norm_eps}, rope, lane,
                q + r * Shape::kQPitch);
  if (part.end == row.position + 1) {  // blocks of other heads of a large group write the same
    auto* const key = const_cast<__half*>(cache.key(row.position));
    auto* const value = const_cast<__half*>(cache.value(row.position));
    if (warp == kWarps - 1) rotate_head(projected + (s.heads + kv) * d, d, {a.k_norm, a.norm_eps}, rope, lane, key);
    if (warp == kWarps - 2) copy_head(projected + (s.heads + s.kv_heads + kv) * d, value, d, lane);
  }
  __syncthreads();

  RowsState<kD, kSums<kD>> state;
  state.clear();
  const float scale = rsqrtf(static_cast<float>(d)) * 1.44269504f;  // scores in units of log 2
  for (int first = start; first < part.end; first += kStepKeys) {
    float score[2][4] = {};
    uint32_t weights[4];
    if constexpr (kD <= kMostAtOnce) {
      if (first > start || !ahead) {
        keys.load(cache, first, part.end, lane);
        values.load(cache, first, part.end, lane);
      }
      add_scores(q, Shape::kQPitch, keys, lane, score);
    } else {
      load_and_score<kD>(q, Shape::kQPitch, cache, first, part.end, lane, score);
    }
    const auto visible = [&](int, int key) { return first + key >= part.begin && first + key < part.end; };
    weigh(state, score, scale, visible, lane, weights);
    if constexpr (kD <= kMostAtOnce)
      add_values(state.acc, weights, values);
    else
      load_and_add_values(state, weights, cache, first, part.end, lane);
  }
  state.finish();
  leave_in_shared<kD>(state, sums, stats, warp, lane);
  __syncthreads();

  __half* const out = a.out + (int64_t{blockIdx.z} * s.heads + kv * group + first_head) * d;
  const int64_t unit = int64_t{blockIdx.z} * gridDim.y + blockIdx.y;
  constexpr int kPartial = Shape::kRows * (kD + 2);
  float* const partials = scratch.partials + unit * gridDim.x * kPartial;
  for (int i = threadIdx.x; i < heads * d; i += kAttendThreads) {
    const int r = i / d, at = i % d;
    const float3 sum = merged(
        kWarps, [&](int w) { return stats[w * Shape::kRows + r].x; },
        [&](int w) { return stats[w * Shape::kRows + r].y; },
        [&](int w) { return sums[(w * Shape::kRows + r) * Shape::kSumPitch + at]; });
    if (part.used == 1) {
      out[i] = __float2half_rn(sum.x / sum.y);
      continue;
    }
    float* const mine = partials + blockIdx.x * kPartial + r * (kD + 2);
    __stcg(mine + at, sum.x);
    if (at == 0) __stcg(mine + kD, sum.y), __stcg(mine + kD + 1, sum.z);
  }
  if (part.used == 1 || !arrives_last(scratch.tickets + unit, part.used)) return;

  for (int i = threadIdx.x; i < part.used * heads; i += kAttendThreads) {  // [part][row], over the sums of before
    const float* const from = partials + i / heads * kPartial + i % heads * (kD + 2) + kD;
    reinterpret_cast<float2*>(sums)[i] = make_float2(__ldcg(from + 1), __ldcg(from));
  }
  __syncthreads();
  for (int i = threadIdx.x; i < heads * d; i += kAttendThreads) {
    const int r = i / d, at = i % d;
    const float3 sum = merged(
        part.used, [&](int p) { return reinterpret_cast<const float2*>(sums)[p * heads + r].x; },
        [&](int p) { return reinterpret_cast<const float2*>(sums)[p * heads + r].y; },
        [&](int p) { return __ldcg(partials + p * kPartial + r * (kD + 2) + at); });
    out[i] = __float2half_rn(sum.x / sum.y);
  }
}

}  // namespace awq::backend::cuda
