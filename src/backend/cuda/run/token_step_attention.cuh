// Attention of a token step: kv head i % kv_heads goes to block i, with part i / kv_heads of the context; eight warps
// take 16 keys each in turn. The products are those of attend_one.cuh. The first keys and values are in registers
// before q is there. A row is added up by one warp, over the warps of a block and then over the parts, in their order:
// the same input gives the same bits.
#pragma once
#include "backend/cuda/run/attend_one.cuh"
#include "backend/cuda/run/attention.h"
#include "backend/cuda/run/token_step_exchange.cuh"
#include "backend/cuda/run/token_step_grid.cuh"

namespace awq::backend::cuda {

inline constexpr int kStepKeysATurn = kStepWarps * kGroupKeys;
static_assert(kMostStepHeads == kStepWarps && kMostStepSplits == 32);  // a warp a row, a lane a part

// Where the sums of the warps lie, from StepSmem::kX.
template <int kD>
struct StepAttentionShape {
  static constexpr int kQPitch = kD + 8, kSumPitch = OneShape<kD, kMostStepHeads>::kSumPitch;
  static constexpr int kStatsAt = kStepWarps * kMostStepHeads * kSumPitch * 4;
  static constexpr int kBytes = kStatsAt + kStepWarps * kMostStepHeads * 8;
};

// The part of the context that a block attends to: 128 keys at least, which all its warps take at once.
struct StepPart {
  int window;                   // for which it is: tokens; 0 = none
  int begin, first, end, used;  // the first visible key; where the part starts, a multiple of 16; its end; parts
  bool has_new;

  StepPart() = default;
  __device__ StepPart(int sliding_window, int position, int split, int splits) : window(sliding_window) {
    begin = sliding_window > 0 ? max(0, position + 1 - sliding_window) : 0;
    const int start = begin / kGroupKeys * kGroupKeys, all = position + 1 - start;
    const int parts = min(splits, divide_up(all, kStepKeysATurn));
    const int length = divide_up(divide_up(all, parts), kGroupKeys) * kGroupKeys;
    used = divide_up(all, length);
    first = start + split * length;
    end = min(first + length, position + 1);
    has_new = first <= position && position < first + length;
  }
};

// What attention keeps in shared memory from one block of the model to the next: registers are for the products.
struct alignas(16) StepAttentionState {
  static constexpr int kPages = 32;
  void* pages[kPages];  // of the part, when there are no more
  float2 rope[kMostStepHeadDim / 2];
  StepRow row;
  int heads, splits, kv, split;
  StepPart part;
  alignas(16) __half q[kMostStepHeads * (kMostStepHeadDim + 8)], new_key[kMostStepHeadDim], new_value[kMostStepHeadDim];
};

static_assert(sizeof(StepAttentionState) <= StepSmem::kX - StepSmem::kAttention);

// Has L2 fetch the keys and values of the tokens before that this block will need. One warp.
__device__ __forceinline__ void prefetch_context(const TokenStepArgs& a, int layer, int sliding_window) {
  AttentionShape s = a.attention;
  s.layer = layer;
  const StepRow row = *a.row;
  const int split = blockIdx.x / s.kv_heads, splits = token_step_splits(s, gridDim.x);
  const StepPart part(sliding_window, row.position, split, splits);
  if (row.slot < 0 || split >= part.used) return;
  const HeadCache cache = head_cache({.shape = s, .pages = a.pages}, row.slot, blockIdx.x % s.kv_heads);
  const int end = min(part.end, row.position);
  for (int page = part.first / kPageTokens + threadIdx.x % 32; page * kPageTokens < end; page += 32) {
    const int from = max(part.first, page * kPageTokens), to = min(end, (page + 1) * kPageTokens);
    prefetch_to_l2(cache.key(from), (to - from) * s.head_dim * 2);
    prefetch_to_l2(cache.value(from), (to - from) * s.head_dim * 2);
  }
}

// One row's sums of several, in a warp: lane i has the statistics {most, total} of sum i.
struct RowMerge {
  float total;  // of all

  __device__ __forceinline__ explicit RowMerge(float2 stats) : most_(stats.x) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) most_ = fmaxf(most_, __shfl_xor_sync(~0u, most_, step));
    weight_ = exp2f(stats.x - (most_ == kNothing ? 0.f : most_));
    total = warp_sum(stats.y * weight_);
  }
  __device__ __forceinline__ float most() const { return most_; }
  __device__ __forceinline__ float weight_of(int i) const { return __shfl_sync(~0u, weight_, i); }

 private:
  float most_, weight_;
};

__device__ __forceinline__ void add_times(float2& sum, float2 v, float weight) {
  sum.x += v.x * weight, sum.y += v.y * weight;
}

// What a block does for one kv head and one part of the context. Threads of the first eight warps.
template <int kD>
class StepAttention {
 public:
  using Shape = StepAttentionShape<kD>;
  static constexpr int kColumns = kD / 64;  // pairs of numbers a lane, 64 apart

  __device__ __forceinline__ StepAttention(const TokenStepArgs& args, unsigned char* smem)
      : a(args),
        my(*reinterpret_cast<StepAttentionState*>(smem + StepSmem::kAttention)),
        sums(reinterpret_cast<float*>(smem + StepSmem::kX)),
        stats(reinterpret_cast<float2*>(smem + StepSmem::kX + Shape::kStatsAt)) {}

  // In front of the first block of the model.
  __device__ __forceinline__ void prepare() const {
    const AttentionShape& s = a.attention;
    const StepRow row = *a.row;
    if (threadIdx.x == 0) {
      my.row = row;
      my.heads = s.group(), my.splits = token_step_splits(s, gridDim.x);
      my.kv = blockIdx.x % s.kv_heads, my.split = blockIdx.x / s.kv_heads;
    }
    for (int i = threadIdx.x; i < d() / 2; i += kStepThreads)
      my.rope[i] = a.rope[int64_t{row.position} * (d() / 2) + i];
    for (int i = threadIdx.x; i < kMostStepHeads * Shape::kQPitch / 2; i += kStepThreads)
      reinterpret_cast<uint32_t*>(my.q)[i] = 0;  // stays so beyond d
    take_part(0);
  }

  __device__ __forceinline__ void begin(const StepHeads& norms) const {
    if (norms.sliding_window != my.part.window) take_part(norms.sliding_window);
  }

  // From q, k and v to this block's share of `attended`.
  __device__ __forceinline__ void run(int layer, const StepCopy& copy, const StepHeads& norms) const {
    if (my.row.slot < 0) leave_nothing(copy);
    if (!works()) return;
    const HeadCache cache = cache_of(layer);
    KeyGroup<kD> keys;
    ValueGroup<kD> values;
    if (start() < my.part.end) {
      keys.load(cache, start(), older(), lane());
      values.load(cache, start(), older(), lane());
    }
    take_token(copy, norms, cache);
    RowsState<kD, 2> state;  // of rows 0 .. 7 alone
    state.clear();
#pragma unroll 1
    for (int first = start(); first < my.part.end; first += kStepKeysATurn)
      add_group(state, keys, values, cache, first);
    state.finish();
    leave_in_shared(state);
    meet();
    if (warp() < my.heads) merge_warps(copy);
    const int row = my.split + warp() * my.part.used;
    if (my.part.used > 1 && row < my.heads) merge_parts(copy, row);
  }

 private:
  __device__ __forceinline__ static int warp() { return threadIdx.x / 32; }
  __device__ __forceinline__ static int lane() { return threadIdx.x % 32; }
  __device__ __forceinline__ int d() const { return a.attention.head_dim; }
  __device__ __forceinline__ bool works() const { return my.row.slot >= 0 && my.split < my.part.used; }
  __device__ __forceinline__ int start() const { return my.part.first + warp() * kGroupKeys; }
  __device__ __forceinline__ int older() const { return min(my.part.end, my.row.position); }
  __device__ __forceinline__ __half* out(const StepCopy& copy, int r) const {
    return copy.attended() + (my.kv * my.heads + r) * d();
  }
  // A row of a part: sums, most and total.
  __device__ __forceinline__ float* partial(const StepCopy& copy, int p, int r) const {
    return copy.partials() + ((my.kv * my.splits + p) * my.heads + r) * (d() + 2);
  }

  __device__ __forceinline__ void take_part(int sliding_window) const {
    meet();
    if (threadIdx.x == 0) my.part = StepPart(sliding_window, my.row.position, my.split, my.splits);
    meet();
    const int first = my.part.first / kPageTokens, count = (my.part.end - 1) / kPageTokens - first + 1;
    if (works() && count <= StepAttentionState::kPages && static_cast<int>(threadIdx.x) < count)
      my.pages[threadIdx.x] = a.pages.pages[int64_t{my.row.slot} * a.pages.pages_a_slot + first + threadIdx.x];
    meet();
  }

  __device__ __forceinline__ HeadCache cache_of(int layer) const {
    AttentionShape shape = a.attention;
    shape.layer = layer;
    HeadCache cache = head_cache({.shape = shape, .pages = a.pages}, my.row.slot, my.kv);
    const int first = my.part.first / kPageTokens;
    if ((my.part.end - 1) / kPageTokens - first < StepAttentionState::kPages) cache.pages = my.pages - first;
    return cache;
  }

  // Nobody's token: what comes of it goes nowhere.
  __device__ __forceinline__ void leave_nothing(const StepCopy& copy) const {
    if (my.split == 0)
      for (int i = 2 * threadIdx.x; i < my.heads * d(); i += 2 * kStepThreads) publish(out(copy, 0) + i, 0.f, 0.f);
  }

  // q, and the new key and value, into shared memory; these into the cache too.
  __device__ __forceinline__ void take_token(const StepCopy& copy, const StepHeads& norms,
                                             const HeadCache& cache) const {
    const bool has_new = my.part.has_new;
#pragma unroll 1
    for (int i = 0; i < 2; ++i) {  // a head of q each; then, in the last two warps, the new key and value
      if (i == 0 ? warp() >= my.heads : !has_new || warp() < kStepWarps - 2) continue;
      const bool value = i == 1 && warp() == kStepWarps - 2;
      const int head =
          i == 0 ? my.kv * my.heads + warp() : a.attention.heads + my.kv + (value ? a.attention.kv_heads : 0);
      __half* const to = i == 0 ? my.q + warp() * Shape::kQPitch : value ? my.new_value : my.new_key;
      uint4 v[1];
      const auto* const from = reinterpret_cast<const uint4*>(copy.qkv() + head * d());
      receive(v, from + lane(), 1, d() / 8 - lane());
      if (lane() < d() / 8) reinterpret_cast<uint4*>(to)[lane()] = v[0];
      __syncwarp();
      if (value) continue;
      const HeadTurn<kColumns> turn(my.rope, d(), lane());
      rotate_head(to, d(), {i == 0 ? norms.q_norm : norms.k_norm, a.norm_eps}, turn, lane(), to);
    }
    meet();  // nobody reads the x of before any more, either
    if (!has_new || warp() != 0) return;
    copy_head(my.new_key, const_cast<__half*>(cache.key(my.row.position)), d(), lane());
    copy_head(my.new_value, const_cast<__half*>(cache.value(my.row.position)), d(), lane());
  }

  // 16 keys and values, in whose place the next of this warp come as soon as they were used.
  __device__ __forceinline__ void add_group(RowsState<kD, 2>& state, KeyGroup<kD>& keys, ValueGroup<kD>& values,
                                            const HeadCache& cache, int first) const {
    const float scale = rsqrtf(static_cast<float>(d())) * 1.44269504f;  // scores in units of log 2
    const int at_new = my.row.position - first;                         // in the group where less than 16
    const int next = first + kStepKeysATurn;
    float score[2][4] = {};
    uint32_t weights[4];
    if (at_new < kGroupKeys) keys.put(at_new, my.new_key, d(), lane());
    add_scores<kD, kMostStepHeads>(my.q, Shape::kQPitch, keys, lane(), score);
    if (next < my.part.end) keys.load(cache, next, older(), lane());
    const auto visible = [&](int, int key) { return first + key >= my.part.begin && first + key < my.part.end; };
    weigh(state, score, scale, visible, lane(), weights);
    if (at_new < kGroupKeys) values.put(at_new, my.new_value, d(), lane());
    add_values(state.acc, weights, values);
    if (next < my.part.end) values.load(cache, next, older(), lane());
  }

  // Row lane / 4 of this warp's sums: 16 numbers of every 64 are this lane's (attend_rows.cuh).
  __device__ __forceinline__ void leave_in_shared(const RowsState<kD, 2>& state) const {
    const int at = warp() * kMostStepHeads + lane() / 4;
    auto* const to = reinterpret_cast<float4*>(sums + at * Shape::kSumPitch + lane() % 4 * 16);
#pragma unroll
    for (int i = 0; i < kD / 16; ++i) {
      const auto number = [&](int j) { return state.acc[i / 4 * 8 + i % 2 * 4 + j][i / 2 % 2]; };
      to[i / 4 * 16 + i % 4] = make_float4(number(0), number(1), number(2), number(3));
    }
    if (lane() % 4 == 0) stats[at] = make_float2(state.most[0], state.total[0]);
  }

  // Row number warp() over the warps: the result, or what this part leaves.
  __device__ __forceinline__ void merge_warps(const StepCopy& copy) const {
    const int r = warp();
    const RowMerge merge(lane() < kStepWarps ? stats[lane() * kMostStepHeads + r] : make_float2(kNothing, 0.f));
    float2 sum[kColumns] = {};
#pragma unroll 2
    for (int w = 0; w < kStepWarps; ++w) {
      const auto* const from = reinterpret_cast<const float2*>(sums + (w * kMostStepHeads + r) * Shape::kSumPitch);
      const float weight = merge.weight_of(w);
#pragma unroll
      for (int c = 0; c < kColumns; ++c) add_times(sum[c], from[32 * c + lane()], weight);
    }
    if (my.part.used == 1) return leave(copy, r, sum, merge.total);
    float* const left = partial(copy, my.split, r);
#pragma unroll
    for (int c = 0; c < kColumns; ++c)
      if (const int at = 64 * c + 2 * lane(); at < d()) publish(left + at, sum[c].x, sum[c].y);
    if (lane() == 0) publish(left + d(), merge.most(), merge.total);
  }

  // Row r of the result.
  __device__ __forceinline__ void leave(const StepCopy& copy, int r, const float2 (&sum)[kColumns], float total) const {
    const float inverse = __fdividef(1.f, total);
#pragma unroll
    for (int c = 0; c < kColumns; ++c)
      if (const int at = 64 * c + 2 * lane(); at < d())
        publish(out(copy, r) + at, sum[c].x * inverse, sum[c].y * inverse);
  }

  // Row r over the parts, whose statistics and sums come together.
  __device__ __forceinline__ void merge_parts(const StepCopy& copy, int r) const {
    constexpr int kAtOnce = 6;
    const int used = my.part.used, step = my.heads * (d() + 2) / 2;  // step: from one part to the next
    const auto* const rows = reinterpret_cast<const uint2*>(partial(copy, 0, r)) + lane();
    const auto* const stats_of = rows + (lane() * (step - 1) + d() / 2);
    const auto floats = [](uint2 v) { return make_float2(__uint_as_float(v.x), __uint_as_float(v.y)); };
    uint2 of_part = make_uint2(__float_as_uint(kNothing), 0);
    float2 sum[kColumns] = {};
    float total = 0.f;
#pragma unroll 1
    for (int p = 0; p < used; p += kAtOnce) {
      uint2 v[kAtOnce][kColumns];
      uint32_t most;
      do {
        if (lane() < used) of_part = load_relaxed(stats_of);
        most = most_of(of_part);
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i)
#pragma unroll
          for (int c = 0; c < kColumns; ++c) {
            v[i][c] = make_uint2(0, 0);
            if (p + i < used && 64 * c + 2 * lane() < d()) v[i][c] = load_relaxed(rows + (p + i) * step + 32 * c);
            most = max(most, most_of(v[i][c]));
          }
      } while (most == kUnset);
      __syncwarp();
      const RowMerge merge(floats(of_part));
      total = merge.total;
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const float weight = merge.weight_of((p + i) % 32);  // beyond `used`: of zeros
#pragma unroll
        for (int c = 0; c < kColumns; ++c) add_times(sum[c], floats(v[i][c]), weight);
      }
    }
    leave(copy, r, sum, total);
  }

  const TokenStepArgs& a;
  StepAttentionState& my;
  float* const sums;
  float2* const stats;
};

}  // namespace awq::backend::cuda
