// Attention of a token step: kv head i % kv_heads goes to block i, with part i / kv_heads of the context; eight warps
// take 16 keys each in turn. The products are those of attend_one.cuh. The first keys and values are in registers
// before q is there. The block that arrives last merges the parts, in their order: the same input gives the same bits.
#pragma once
#include "backend/cuda/run/attend_one.cuh"
#include "backend/cuda/run/attention.h"
#include "backend/cuda/run/token_step_grid.cuh"

namespace awq::backend::cuda {

inline constexpr int kStepKeysATurn = kStepWarps * kGroupKeys;

// Where things lie, from StepSmem::kX.
template <int kD>
struct StepAttentionShape {
  static constexpr int kQPitch = kD + 8, kSumPitch = OneShape<kD, kMostStepHeads>::kSumPitch;
  static constexpr int kNewAt = 16 * kQPitch * 2, kSumsAt = kNewAt + 2 * kD * 2;
  static constexpr int kStatsAt = kSumsAt + kStepWarps * kMostStepHeads * kSumPitch * 4;
  static constexpr int kBytes = kStatsAt + kStepWarps * kMostStepHeads * 8;
  static_assert(kMostStepSplits * kMostStepHeads * 8 <= kStatsAt - kSumsAt);  // statistics of parts, over the sums
  static constexpr int kPartial = kMostStepHeads * (kD + 2);  // floats a part leaves: a head's sums, total and most
};

// The part of the context that a block attends to: 128 keys at least, which all its warps take at once.
struct StepPart {
  int begin, first, end, used;  // the first visible key; where the part starts, a multiple of 16; its end; parts
  bool has_new;

  __device__ StepPart(int sliding_window, int position, int split, int splits) {
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

// What a block does for one kv head and one part of the context. Threads of the first eight warps.
template <int kD>
class StepAttention {
 public:
  using Shape = StepAttentionShape<kD>;

  __device__ __forceinline__ StepAttention(const TokenStepArgs& args, const StepBlock& block_, int layer_,
                                           unsigned char* smem_)
      : a(args),
        block(block_),
        smem(smem_),
        layer(layer_),
        warp(threadIdx.x / 32),
        lane(threadIdx.x % 32),
        d(a.attention.head_dim),
        heads(a.attention.group()),
        splits(token_step_splits(a.attention, gridDim.x)),
        kv(blockIdx.x % a.attention.kv_heads),
        split(blockIdx.x / a.attention.kv_heads),
        row(*a.row),
        part(block.sliding_window, row.position, split, splits),
        works(row.slot >= 0 && split < part.used) {}

  // Waits for q, k and v; afterwards the block has arrived at the grid's next barrier.
  __device__ __forceinline__ void run() {
    AttentionShape shape = a.attention;
    shape.layer = layer;
    const HeadCache cache = head_cache({.shape = shape, .pages = a.pages}, works ? row.slot : 0, kv);
    const int start = part.first + warp * kGroupKeys, older = min(part.end, row.position);
    KeyGroup<kD> keys;
    ValueGroup<kD> values;
    if (works && start < part.end) load(keys, values, cache, start, older);
    if (works)
      for (int first = start + kStepKeysATurn; first < part.end; first += kStepKeysATurn)
        prefetch_group(cache, first, older, lane);
    if (threadIdx.x == 0) wait_for_grid(a, layer, kAfterQkv);
    meet();
    if (works) {
      take_token(cache);
      RowsState<kD, 2> state;  // of rows 0 .. 7 alone
      state.clear();
      for (int first = start; first < part.end; first += kStepKeysATurn) {
        if (first > start) load(keys, values, cache, first, older);
        add_group(state, keys, values, first);
      }
      state.finish();
      leave_in_shared<kD, kMostStepHeads>(state, sums(), stats(), warp, lane);
      meet();
      merge_warps();
      meet();
      if (part.used > 1) merge_parts();
    }
    if (threadIdx.x == 0) arrive_release(a.arrived);
  }

 private:
  __device__ __forceinline__ static void meet() { named_barrier_sync(1, kStepThreads); }
  __device__ __forceinline__ unsigned char* scratch() const { return smem + StepSmem::kX; }
  __device__ __forceinline__ __half* q() const { return reinterpret_cast<__half*>(scratch()); }
  __device__ __forceinline__ __half* new_key() const { return reinterpret_cast<__half*>(scratch() + Shape::kNewAt); }
  __device__ __forceinline__ __half* new_value() const { return new_key() + kD; }
  __device__ __forceinline__ float* sums() const { return reinterpret_cast<float*>(scratch() + Shape::kSumsAt); }
  __device__ __forceinline__ float2* stats() const { return reinterpret_cast<float2*>(scratch() + Shape::kStatsAt); }
  __device__ __forceinline__ __half* out() const { return a.attended + kv * heads * d; }
  __device__ __forceinline__ float* partials() const { return a.scratch.partials + kv * splits * Shape::kPartial; }

  __device__ __forceinline__ void load(KeyGroup<kD>& keys, ValueGroup<kD>& values, const HeadCache& cache, int first,
                                       int older) const {
    keys.load(cache, first, older, lane);
    values.load(cache, first, older, lane);
  }

  // q, and the new key and value, into shared memory; these into the cache too.
  __device__ __forceinline__ void take_token(const HeadCache& cache) const {
    const HeadTurn turn(a.rope + int64_t{row.position} * (d / 2), d, lane);
    for (int i = threadIdx.x; i < 16 * Shape::kQPitch / 8; i += kStepThreads)
      reinterpret_cast<uint4*>(q())[i] = make_uint4(0, 0, 0, 0);
    meet();
    const AttentionShape& s = a.attention;
    if (warp < heads)
      rotate_head(a.qkv + (kv * heads + warp) * d, d, {block.q_norm, a.norm_eps}, turn, lane,
                  q() + warp * Shape::kQPitch);
    if (part.has_new && warp == kStepWarps - 1)
      rotate_head(a.qkv + (s.heads + kv) * d, d, {block.k_norm, a.norm_eps}, turn, lane, new_key());
    if (part.has_new && warp == kStepWarps - 2)
      copy_head(a.qkv + (s.heads + s.kv_heads + kv) * d, new_value(), d, lane);
    meet();
    if (!part.has_new || warp != 0) return;
    copy_head(new_key(), const_cast<__half*>(cache.key(row.position)), d, lane);
    copy_head(new_value(), const_cast<__half*>(cache.value(row.position)), d, lane);
  }

  __device__ __forceinline__ void add_group(RowsState<kD, 2>& state, KeyGroup<kD>& keys, ValueGroup<kD>& values,
                                            int first) const {
    const float scale = rsqrtf(static_cast<float>(d)) * 1.44269504f;  // scores in units of log 2
    const int at_new = row.position - first;                          // in the group where less than 16
    float score[2][4] = {};
    uint32_t weights[4];
    if (at_new < kGroupKeys) keys.put(at_new, new_key(), d, lane);
    add_scores(q(), Shape::kQPitch, keys, lane, score);
    const auto visible = [&](int, int key) { return first + key >= part.begin && first + key < part.end; };
    weigh(state, score, scale, visible, lane, weights);
    if (at_new < kGroupKeys) values.put(at_new, new_value(), d, lane);
    add_values(state.acc, weights, values);
  }

  // The result, or this part's share of it.
  __device__ __forceinline__ void merge_warps() const {
    for (int i = threadIdx.x; i < heads * d; i += kStepThreads) {
      const int r = i / d, at = i % d;
      const float3 sum = merged<4>(
          kStepWarps, [&](int w) { return stats()[w * kMostStepHeads + r]; },
          [&](int w) { return sums()[(w * kMostStepHeads + r) * Shape::kSumPitch + at]; });
      if (part.used == 1) {
        out()[i] = __float2half_rn(sum.x / sum.y);
        continue;
      }
      float* const mine = partials() + split * Shape::kPartial + r * (kD + 2);
      __stcg(mine + at, sum.x);
      if (at == 0) __stcg(mine + kD, sum.y), __stcg(mine + kD + 1, sum.z);
    }
  }

  // By the block that arrives last.
  __device__ __forceinline__ void merge_parts() const {
    auto* const last = reinterpret_cast<int*>(smem + StepSmem::kLast);
    if (threadIdx.x == 0) {
      auto* const ticket = reinterpret_cast<uint32_t*>(a.scratch.tickets + kv);
      *last = arrive_and_count(ticket) == static_cast<uint32_t>(part.used) - 1;
      if (*last) *ticket = 0;  // for the next block of the model
    }
    meet();
    if (!*last) return;
    auto* const of_parts = reinterpret_cast<float2*>(sums());
    for (int i = threadIdx.x; i < part.used * heads; i += kStepThreads) {
      const float* const from = partials() + i / heads * Shape::kPartial + i % heads * (kD + 2) + kD;
      of_parts[i] = make_float2(__ldcg(from + 1), __ldcg(from));
    }
    meet();
    for (int i = threadIdx.x; i < heads * d; i += kStepThreads) {
      const int r = i / d, at = i % d;
      const float3 sum = merged<4>(
          part.used, [&](int p) { return of_parts[p * heads + r]; },
          [&](int p) { return __ldcg(partials() + p * Shape::kPartial + r * (kD + 2) + at); });
      out()[i] = __float2half_rn(sum.x / sum.y);
    }
    meet();
  }

  const TokenStepArgs& a;
  const StepBlock& block;
  unsigned char* const smem;
  const int layer, warp, lane, d, heads, splits, kv, split;
  const StepRow row;
  const StepPart part;
  const bool works;
};

}  // namespace awq::backend::cuda
