// One new token a context: a block has the query heads of one kv head (8 rows of the product, or 16) and one part of
// the context; its four warps take 16 keys each in turn. q is rotated here, and the block whose part ends with the new
// token appends its key and value. Keys and values older than the step are read before the projection in front has
// ended (9.0): the first 16 of a warp into registers, the others into L2.
//
//   in a block     the warps leave sums relative to their largest score; added up in order of the warps
//   in a cluster   (9.0) every block owns a slice of the result, and the others write theirs into its shared memory:
//                  one barrier between the last product and the result
//   beyond         a cluster leaves its slices in L2; the block that arrives last adds them up, in order of the parts
//
// So the same input gives the same bits.
//
// Bytes, context c: 4 c d a kv head; 2.6 MB a layer of Llama-3-8B at c = 640, 0.6 us of an H200: latency decides.
// Adding up eight parts through L2 alone, a load after the other, took 7 of 10 us (H200, 2026-11-21, c = 512).
#pragma once
#include "backend/cuda/kernels/cluster.cuh"
#include "backend/cuda/run/attend_rows.cuh"
#include "backend/cuda/run/attention.h"
#include "backend/cuda/run/last_block.cuh"
#include "backend/cuda/run/rotate_head.cuh"

namespace awq::backend::cuda {

inline constexpr int kWarps = 4, kAttendThreads = 32 * kWarps, kStepKeys = kWarps * kGroupKeys;
inline constexpr int kMostSplits = 64;

__device__ constexpr int divide_up(int a, int b) { return (a + b - 1) / b; }

// The part of a context that a block attends to. Blocks that stand alone get 64 keys at least: less would cost more to
// add up than to read; those of a cluster, whose sums meet at once, 128, before a second cluster takes part.
struct Part {
  int begin, first, end;  // the first visible key; where the part starts, a multiple of 16; where it ends
  int clusters;           // with keys in them
  bool has_new;           // the new token

  __device__ Part(const AttentionShape& shape, int position, int split, int splits, int together) {
    begin = shape.sliding_window > 0 ? max(0, position + 1 - shape.sliding_window) : 0;
    const int start = begin / kGroupKeys * kGroupKeys, all = position + 1 - start;
    const int enough = together * (together > 1 ? 2 * kStepKeys : kStepKeys);
    const int parts = min(splits, divide_up(all, enough) * together);
    const int length = divide_up(divide_up(all, parts), kGroupKeys) * kGroupKeys;
    clusters = divide_up(all, length * together);
    first = start + split * length;
    end = min(first + length, position + 1);
    has_new = first <= position && position < first + length;
  }
};

// Beyond, there are no registers for keys and values before they are used, nor for sums of more than 8 rows.
template <int kD>
inline constexpr bool kAhead = kD <= kMostAtOnce;
template <int kD>
inline constexpr int kSums = kAhead<kD> ? 4 : 2;  // of RowsState

template <int kD, int kRows>
struct OneShape {
  static constexpr int kQPitch = kD + 8;  // halves; 8 over, so that rows fall into different banks
  static constexpr int kSumPitch = kD + 4;
  // Bytes: q [16][kQPitch]; the new key and value [2][kD]; a warp's sums [warp][row][kSumPitch] float and [warp][row]
  // {most, total}; what the blocks of a cluster sent, [block][slice] float and [block][row] {most, total}.
  static constexpr int kNewAt = 16 * kQPitch * 2;
  static constexpr int kSumsAt = kNewAt + 2 * kD * 2;
  static constexpr int kStatsAt = kSumsAt + kWarps * kRows * kSumPitch * 4;
  static constexpr int kSentAt = kStatsAt + kWarps * kRows * 8;
  static constexpr int kSentStatsAt = kSentAt + kRows * kD * 4;
  static constexpr int kSmem = kSentStatsAt + kMostInCluster * kRows * 8;
  static constexpr int kPartial = kRows * (kD + 2);  // floats that a cluster leaves: a row's sums, total and most
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

// Adds up `count` sums of one row: weights them by 2^(most - the largest most). stats_of(i): {most, total}. The values
// of kAtOnce are in flight together.
template <int kAtOnce, class StatsOf, class SumOf>
__device__ __forceinline__ float3 merged(int count, const StatsOf& stats_of, const SumOf& sum_of) {
  float most = kNothing, total = 0.f, sum = 0.f;
  for (int i = 0; i < count; ++i) most = fmaxf(most, stats_of(i).x);
  const float base = most == kNothing ? 0.f : most;
  for (int first = 0; first < count; first += kAtOnce) {
    float value[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) value[i] = first + i < count ? sum_of(first + i) : 0.f;
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const float2 stats = first + i < count ? stats_of(first + i) : make_float2(kNothing, 0.f);
      const float weight = exp2f(stats.x - base);
      total += stats.y * weight;
      sum += value[i] * weight;
    }
  }
  return make_float3(sum, total, most);
}

template <int kD, int kRows, int kSumsALane>
__device__ __forceinline__ void leave_in_shared(const RowsState<kD, kSumsALane>& state, float* sums, float2* stats,
                                                int warp, int lane) {
#pragma unroll
  for (int h = 0; h < kRows / 8; ++h) {
    const int row = warp * kRows + lane / 4 + 8 * h;
    float* to = sums + row * OneShape<kD, kRows>::kSumPitch + lane % 4 * 16;
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

// What the parts of a block are for one unit of work: a context's kv head, and up to kRows of its query heads.
template <int kD, int kRows>
struct Meeting {
  float *sums, *sent;
  float2 *stats, *sent_stats;
  int heads, d;               // rows, and numbers a row
  int rank, together, slice;  // this block in its cluster, its blocks, numbers of the result a block

  __device__ Meeting(unsigned char* smem, int heads_, int d_, int together_)
      : sums(reinterpret_cast<float*>(smem + OneShape<kD, kRows>::kSumsAt)),
        sent(reinterpret_cast<float*>(smem + OneShape<kD, kRows>::kSentAt)),
        stats(reinterpret_cast<float2*>(smem + OneShape<kD, kRows>::kStatsAt)),
        sent_stats(reinterpret_cast<float2*>(smem + OneShape<kD, kRows>::kSentStatsAt)),
        heads(heads_),
        d(d_),
        rank(together_ > 1 ? rank_in_cluster() : 0),
        together(together_),
        slice(heads_ * d_ / together_) {}

  // Adds up the warps and gives every block of the cluster its slice.
  __device__ __forceinline__ void send() const {
    for (int i = threadIdx.x; i < heads * d; i += kAttendThreads) {
      const int r = i / d, at = i % d, owner = i / slice;
      const float3 sum = merged<kWarps>(
          kWarps, [&](int w) { return stats[w * kRows + r]; },
          [&](int w) { return sums[(w * kRows + r) * OneShape<kD, kRows>::kSumPitch + at]; });
      store(sent + rank * slice + i - owner * slice, owner, sum.x);
      if (at >= together) continue;
      auto* const row = reinterpret_cast<float*>(sent_stats + rank * kRows + r);
      store(row, at, sum.z);
      store(row + 1, at, sum.y);
    }
  }

  // Number i of this block's slice, after all have sent: {sum, total, most}.
  __device__ __forceinline__ float3 received(int i) const {
    const int r = (rank * slice + i) / d;
    return merged<kMostInCluster>(
        together, [&](int b) { return sent_stats[b * kRows + r]; }, [&](int b) { return sent[b * slice + i]; });
  }

 private:
  __device__ __forceinline__ void store(float* to, int owner, float value) const {
    if (together > 1)
      store_in_block(to, owner, value);
    else
      *to = value;
  }
};

// d = 64: by itself ptxas stops at 128 registers there, and spills (10.0).
template <int kD, int kRows>
__global__ void __launch_bounds__(kAttendThreads, kD == 64 ? 2 : 0)
    attend_one(AttentionArgs a, SplitScratch scratch, int together) {
  using Shape = OneShape<kD, kRows>;
  extern __shared__ __align__(16) unsigned char smem[];
  auto* const q = reinterpret_cast<__half*>(smem);
  const AttentionShape& s = a.shape;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, d = s.head_dim, group = s.group();
  const int kv = blockIdx.y % s.kv_heads, first_head = blockIdx.y / s.kv_heads * kRows;  // within the group
  const int heads = min(kRows, group - first_head);
  allow_next_kernel();
  const StepRow row = a.rows[blockIdx.z];
  if (row.slot < 0) {
    wait_for_previous_kernel();  // whoever waits for this kernel waits for those before it too
    return;
  }
  const Part part(s, row.position, blockIdx.x, gridDim.x, together);
  const int cluster = blockIdx.x / together;
  if (cluster >= part.clusters) return;  // the first does wait
  if (together > 1) arrive_at_cluster();
  const HeadCache cache = head_cache(a, row.slot, kv);
  const int start = part.first + warp * kGroupKeys, older = min(part.end, row.position);
  KeyGroup<kD> keys;
  ValueGroup<kD> values;
  if (kAhead<kD> && start < part.end) {
    keys.load(cache, start, older, lane);
    values.load(cache, start, older, lane);
  }
  for (int first = start + (kAhead<kD> ? kStepKeys : 0); first < part.end; first += kStepKeys)
    prefetch_group(cache, first, older, lane);
  for (int i = threadIdx.x; i < 16 * Shape::kQPitch / 8; i += kAttendThreads)
    reinterpret_cast<uint4*>(q)[i] = make_uint4(0, 0, 0, 0);
  const HeadTurn turn(a.rope + int64_t{row.position} * (d / 2), d, lane);
  __syncthreads();
  wait_for_previous_kernel();

  const __half* const projected = a.qkv + blockIdx.z * s.qkv_columns();
  // The new key and value go to the cache, and to the products from shared memory.
  auto* const cached_key = const_cast<__half*>(cache.key(row.position));
  auto* const cached_value = const_cast<__half*>(cache.value(row.position));
  auto* const new_key = kAhead<kD> ? reinterpret_cast<__half*>(smem + Shape::kNewAt) : cached_key;
  auto* const new_value = kAhead<kD> ? new_key + kD : cached_value;
  HeadPairs pairs;
  const bool turns_key = part.has_new && warp == kWarps - 1;
  if (turns_key) pairs.load(projected + (s.heads + kv) * d, d, lane);
  for (int r = warp; r < heads; r += kWarps)
    rotate_head(projected + (kv * group + first_head + r) * d, d, {a.q_norm, a.norm_eps}, turn, lane,
                q + r * Shape::kQPitch);
  if (turns_key) pairs.rotate(d, {a.k_norm, a.norm_eps}, turn, lane, new_key);
  if (part.has_new && warp == kWarps - 2) copy_head(projected + (s.heads + s.kv_heads + kv) * d, new_value, d, lane);
  __syncthreads();
  if (kAhead<kD> && part.has_new && warp == 0) {  // blocks of other heads of a large group write the same
    copy_head(new_key, cached_key, d, lane);
    copy_head(new_value, cached_value, d, lane);
  }

  RowsState<kD, kSums<kD>> state;
  state.clear();
  const float scale = rsqrtf(static_cast<float>(d)) * 1.44269504f;  // scores in units of log 2
  for (int first = start; first < part.end; first += kStepKeys) {
    const int next = first + kStepKeys;
    float score[2][4] = {};
    uint32_t weights[4];
    const auto visible = [&](int, int key) { return first + key >= part.begin && first + key < part.end; };
    if constexpr (kAhead<kD>) {
      const int at_new = row.position - first;  // in the group where less than 16
      if (at_new < kGroupKeys) keys.put(at_new, new_key, d, lane);
      add_scores(q, Shape::kQPitch, keys, lane, score);
      if (next < part.end) keys.load(cache, next, older, lane);
      weigh(state, score, scale, visible, lane, weights);
      if (at_new < kGroupKeys) values.put(at_new, new_value, d, lane);
      add_values(state.acc, weights, values);
      if (next < part.end) values.load(cache, next, older, lane);
    } else {
      load_and_score<kD>(q, Shape::kQPitch, cache, first, part.end, lane, score);
      weigh(state, score, scale, visible, lane, weights);
      load_and_add_values(state, weights, cache, first, part.end, lane);
    }
  }
  state.finish();
  const Meeting<kD, kRows> meeting(smem, heads, d, together);
  leave_in_shared<kD, kRows>(state, meeting.sums, meeting.stats, warp, lane);
  if (together > 1) wait_for_cluster();  // all its blocks have started
  __syncthreads();
  meeting.send();
  if (together > 1) arrive_at_cluster(), wait_for_cluster();
  __syncthreads();

  const int slice = meeting.slice, at_first = meeting.rank * slice;
  __half* const out = a.out + (int64_t{blockIdx.z} * s.heads + kv * group + first_head) * d + at_first;
  const int64_t unit = int64_t{blockIdx.z} * gridDim.y + blockIdx.y;
  float* const partials = scratch.partials + unit * (gridDim.x / together) * Shape::kPartial;
  for (int i = threadIdx.x; i < slice; i += kAttendThreads) {
    const float3 sum = meeting.received(i);
    if (part.clusters == 1) {
      out[i] = __float2half_rn(sum.x / sum.y);
      continue;
    }
    const int at = (at_first + i) % d;
    float* const mine = partials + cluster * Shape::kPartial + (at_first + i) / d * (kD + 2);
    __stcg(mine + at, sum.x);
    // Blocks that share a row write the same.
    if (at == 0 || i == 0) __stcg(mine + kD, sum.y), __stcg(mine + kD + 1, sum.z);
  }
  if (part.clusters == 1 || !arrives_last(scratch.tickets + unit * together + meeting.rank, part.clusters)) return;

  auto* const stats = reinterpret_cast<float2*>(meeting.sums);  // [cluster][row], over the sums of before
  for (int i = threadIdx.x; i < part.clusters * heads; i += kAttendThreads) {
    const float* const from = partials + i / heads * Shape::kPartial + i % heads * (kD + 2) + kD;
    stats[i] = make_float2(__ldcg(from + 1), __ldcg(from));
  }
  __syncthreads();
  for (int i = threadIdx.x; i < slice; i += kAttendThreads) {
    const int r = (at_first + i) / d, at = (at_first + i) % d;
    const float3 sum = merged<8>(
        part.clusters, [&](int c) { return stats[c * heads + r]; },
        [&](int c) { return __ldcg(partials + c * Shape::kPartial + r * (kD + 2) + at); });
    out[i] = __float2half_rn(sum.x / sum.y);
  }
}

}  // namespace awq::backend::cuda
