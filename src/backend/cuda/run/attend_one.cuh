// One new token a context: a block has the query heads of one kv head (8 rows of the product, or 16) and one part of
// the context; its four warps take 16 keys each in turn. q is rotated here, and the block whose part ends with the new
// token appends its key and value. Keys and values older than the step are read before the projection in front has
// ended (9.0), as many as a ring in shared memory takes (attend_ring.cuh). attend_merge.cuh puts the sums together.
//
// Bytes, context c: 4 c d a kv head; 2.6 MB a layer of Llama-3-8B at c = 640, 0.6 us of an H200: latency decides. Of 16
// sequences 42 MB, 9 us, and here (one H200, 2026-11-22, c = 576) 12.2: from the end of the projection in front 1 us to
// the first copies, 7 to q, which waits behind them, 11 to the last product.
//
// Tried, no gain: other kernels' idle multiprocessors fetching keys and values into L2 while the norm and the
// projection run: what attention saves they lose (30 % of the keys: a step takes 0.01 ms more; all: 0.08). Fewer copies
// before q is read, so that it waits less, with L2 fetching the rest: 0.4 to 2.4 us a layer slower. One part of a short
// context where two blocks are there for it: 1.3 us slower than both; launched as one, a step of 16 sequences takes 20
// us less at 576 tokens, but attention 3 us a layer more at 2112.
#pragma once
#include <algorithm>

#include "backend/cuda/run/attend_heads.cuh"
#include "backend/cuda/run/attend_merge.cuh"
#include "backend/cuda/run/attention.h"
#include "backend/cuda/run/rotate_head.cuh"

namespace awq::backend::cuda {

inline constexpr int kStepKeys = kWarps * kGroupKeys;
inline constexpr int kMostSplits = 64;

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

template <int kD, int kRows>
struct OneShape {
  using Sums = MeetingShape<kD, kRows>;
  static constexpr int kQPitch = kD + 8;  // halves; 8 over, so that rows fall into different banks
  static constexpr int kSumPitch = Sums::kSumPitch;
  // Bytes: q [16][kQPitch]; the new key and value [2][kD]; the meeting's; the rings [warp][tile], and later in their
  // place the warps' sums.
  static constexpr int kNewAt = 16 * kQPitch * 2;
  static constexpr int kMeetingAt = kNewAt + 2 * kD * 2;
  static constexpr int kRingsAt = kMeetingAt + Sums::kBytes;
  static constexpr int kTileBytes = kWarps * TileRing<kD>::kTileBytes;  // one a warp
  // Tiles a warp, where two blocks share the `bytes` of a multiprocessor.
  static constexpr int tiles(int bytes) {
    const int fit = std::clamp((bytes / 2 - 1024 - kRingsAt) / kTileBytes, 1, TileRing<kD>::kMostTiles);
    return fit == 1 ? 1 : fit / 2 * 2;
  }
  static constexpr int smem(int tiles) { return kRingsAt + std::max(tiles * kTileBytes, Sums::kSumBytes); }
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

__device__ __forceinline__ void store_unit(__half* out, int unit, const RowSum& row) {
  const float scale = 1.f / row.total;
  reinterpret_cast<uint2*>(out)[unit] = make_uint2(bits(__floats2half2_rn(row.sum.x * scale, row.sum.y * scale)),
                                                   bits(__floats2half2_rn(row.sum.z * scale, row.sum.w * scale)));
}

template <int kD, int kRows>
__global__ void __launch_bounds__(kAttendThreads, 2)  // without the 2 ptxas stops at 168 registers or 128, and spills
    attend_one(AttentionArgs a, SplitScratch scratch, int together, int tiles) {
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
  const Meeting<kD, kRows> meeting(smem + Shape::kMeetingAt, smem + Shape::kRingsAt, heads, d, together);
  meeting.begin();
  const HeadCache cache = head_cache(a, row.slot, kv);
  const int start = part.first + warp * kGroupKeys, older = min(part.end, row.position);
  TileRing<kD> ring(smem_address(smem) + Shape::kRingsAt + warp * tiles * TileRing<kD>::kTileBytes, tiles, cache, start,
                    kStepKeys, part.end, older);
  ring.begin(lane);
  for (int i = threadIdx.x; i < 16 * Shape::kQPitch / 8; i += kAttendThreads)
    reinterpret_cast<uint4*>(q)[i] = make_uint4(0, 0, 0, 0);
  const HeadTurn turn(a.rope + int64_t{row.position} * (d / 2), d, lane);
  __syncthreads();
  wait_for_previous_kernel();

  const __half* const projected = a.qkv + blockIdx.z * s.qkv_columns();
  // The new key and value go to the cache, and to the products from shared memory.
  auto* const cached_key = const_cast<__half*>(cache.key(row.position));
  auto* const cached_value = const_cast<__half*>(cache.value(row.position));
  auto* const new_key = reinterpret_cast<__half*>(smem + Shape::kNewAt);
  auto* const new_value = new_key + kD;
  HeadPairs pairs;
  const bool turns_key = part.has_new && warp == kWarps - 1;
  if (turns_key) pairs.load(projected + (s.heads + kv) * d, d, lane);
  for (int r = warp; r < heads; r += kWarps)
    rotate_head(projected + (kv * group + first_head + r) * d, d, {a.q_norm, a.norm_eps}, turn, lane,
                q + r * Shape::kQPitch);
  if (turns_key) pairs.rotate(d, {a.k_norm, a.norm_eps}, turn, lane, new_key);
  if (part.has_new && warp == kWarps - 2) copy_head(projected + (s.heads + s.kv_heads + kv) * d, new_value, d, lane);
  __syncthreads();
  if (part.has_new && warp == 0) {  // blocks of other heads of a large group write the same
    copy_head(new_key, cached_key, d, lane);
    copy_head(new_value, cached_value, d, lane);
  }

  const float scale = rsqrtf(static_cast<float>(d)) * 1.44269504f;  // scores in units of log 2
  HeadSums<kD, kRows> sums(q, Shape::kQPitch, scale, lane);
#pragma unroll 1
  for (int first = start; first < part.end; first += kStepKeys) {
    const int at_new = row.position - first;  // in the group where less than 16
    ring.wait();
    if (at_new < kGroupKeys) ring.put(at_new, new_key, lane);
    sums.score(ring, lane);
    ring.release(lane);
    if (first < part.begin || first + kGroupKeys > part.end) sums.mask(part.begin - first, part.end - first, lane);
    sums.weigh(lane);
    ring.wait();
    if (at_new < kGroupKeys) ring.put(at_new, new_value, lane);
    sums.add(ring, lane);
    ring.release(lane);
  }
  __syncthreads();  // the sums take the place of the rings
  sums.leave(meeting.sums_of(warp), Shape::kSumPitch, meeting.stats_of(warp), lane);
  __syncthreads();
  meeting.meet();

  __half* const out = a.out + (int64_t{blockIdx.z} * s.heads + kv * group + first_head) * d;
  const int64_t work = int64_t{blockIdx.z} * gridDim.y + blockIdx.y;
  float* const partials = scratch.partials + work * (gridDim.x / together) * Shape::Sums::kPartial;
  for (int unit = meeting.first + threadIdx.x; unit < meeting.end; unit += kAttendThreads) {
    const RowSum sum = meeting.sum(unit);
    if (part.clusters == 1)
      store_unit(out, unit, sum);
    else
      meeting.publish(partials + cluster * Shape::Sums::kPartial, unit, sum);
  }
  int32_t* const tickets = scratch.tickets + work * together;
  if (part.clusters == 1 || !arrives_last(tickets + blockIdx.x % together, part.clusters)) return;
  meeting.read_stats(partials, part.clusters);
  for (int unit = meeting.first + threadIdx.x; unit < meeting.end; unit += kAttendThreads)
    store_unit(out, unit, meeting.sum_of_clusters(partials, part.clusters, unit));
}

}  // namespace awq::backend::cuda
