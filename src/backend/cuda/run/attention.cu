// Launchers of attention, and the kernel that appends a prompt's keys and values to the cache.
#include "backend/cuda/run/attention.h"

#include <algorithm>
#include <bit>
#include <climits>

#include "backend/cuda/kernels/launch_kernel.h"
#include "backend/cuda/run/attend_many.cuh"
#include "backend/cuda/run/attend_one.cuh"

namespace awq::backend::cuda {
namespace {

constexpr int kAppendWarps = 8;

// A block a token, a warp a head in turn: q, then k, then v.
__global__ void __launch_bounds__(32 * kAppendWarps) append(AttentionArgs a) {
  allow_next_kernel();
  wait_for_previous_kernel();
  const StepRow row = a.rows[blockIdx.x];
  if (row.slot < 0) return;
  const AttentionShape& s = a.shape;
  const int lane = threadIdx.x % 32, d = s.head_dim;
  __half* const projected = a.qkv + blockIdx.x * s.qkv_columns();
  const HeadTurn turn(a.rope + int64_t{row.position} * (d / 2), d, lane);
  for (int head = threadIdx.x / 32; head < s.heads + 2 * s.kv_heads; head += kAppendWarps) {
    __half* const x = projected + head * d;
    if (head < s.heads) {
      rotate_head(x, d, {a.q_norm, a.norm_eps}, turn, lane, x);
      continue;
    }
    const int kv = (head - s.heads) % s.kv_heads;
    const HeadCache cache = head_cache(a, row.slot, kv);
    if (head < s.heads + s.kv_heads)
      rotate_head(x, d, {a.k_norm, a.norm_eps}, turn, lane, const_cast<__half*>(cache.key(row.position)));
    else
      copy_head(x, const_cast<__half*>(cache.value(row.position)), d, lane);
  }
}

// Calls body with the instance's head dimension: what lies between is padded with zeros.
template <class Body>
cudaError_t with_head_dim(int d, Body&& body) {
  if (d <= 64) return body(std::integral_constant<int, 64>());
  if (d <= 128) return body(std::integral_constant<int, 128>());
  return body(std::integral_constant<int, 256>());
}

// Query heads a block has at most: with few, less shared memory; beyond d = 128 there are registers for 8 alone.
int rows_a_block(const AttentionShape& s) { return s.group() <= 8 || s.head_dim > 128 ? 8 : 16; }
int row_blocks(const AttentionShape& s) { return (s.group() + rows_a_block(s) - 1) / rows_a_block(s); }
int padded_dim(const AttentionShape& s) { return s.head_dim <= 64 ? 64 : s.head_dim <= 128 ? 128 : 256; }

// Blocks of a cluster: the largest power of two that divides the splits. Heads beyond 128 numbers go without, until
// they are measured: a run on an H200 (2026-11-21) left it open whether a NaN of theirs was the test's or the
// clusters'.
int together(const AttentionShape& s, int splits, const LaunchTarget& on) {
  return on.clusters && s.head_dim <= kMostAtOnce ? std::min(splits & -splits, kMostInCluster) : 1;
}

}  // namespace

int64_t page_bytes(const AttentionShape& s, int64_t layers) {
  return layers * 2 * s.kv_heads * kPageTokens * s.head_dim * static_cast<int64_t>(sizeof(__half));
}

// Two blocks an SM, where that takes no more than two a context: a part's latency then hides behind another's. Else
// one, as larger clusters find no room for two (Llama 3 8B, 576 tokens, 8 sequences: 8.6 us with 2 parts, 13.9 with 4;
// H200, 2026-11-22). A number that clusters divide.
int attention_splits(const AttentionShape& s, int64_t m, int sms) {
  const int64_t units = m * s.kv_heads * row_blocks(s);
  const int64_t most = std::min(2 * sms / units, std::max<int64_t>(sms / units, 2));
  const auto splits = static_cast<unsigned>(std::clamp<int64_t>(most, 1, kMostSplits));
  return static_cast<int>(splits >= kMostInCluster ? splits / kMostInCluster * kMostInCluster : std::bit_floor(splits));
}

int64_t split_tickets(const AttentionShape& s, int64_t m) { return m * s.kv_heads * row_blocks(s) * kMostInCluster; }

int64_t split_floats(const AttentionShape& s, int64_t m, int splits) {
  return m * s.kv_heads * row_blocks(s) * splits * rows_a_block(s) * (padded_dim(s) + 2);
}

cudaError_t launch_attend_one(const AttentionArgs& a, int splits, const SplitScratch& scratch, const LaunchTarget& on) {
  const dim3 grid(static_cast<unsigned>(splits), static_cast<unsigned>(a.shape.kv_heads * row_blocks(a.shape)),
                  static_cast<unsigned>(a.m));
  const int blocks = together(a.shape, splits, on);
  return with_head_dim(a.shape.head_dim, [&](auto dim) {
    const auto launch = [&](auto rows) {
      using Shape = OneShape<dim(), rows()>;
      const int tiles = Shape::tiles(on.smem_per_block);
      return launch_in_clusters(static_cast<unsigned>(blocks), attend_one<dim(), rows()>, grid, kAttendThreads,
                                static_cast<size_t>(Shape::smem(tiles)), on.stream, on.overlap, a, scratch, blocks,
                                tiles);
    };
    if constexpr (dim() <= 128)
      if (rows_a_block(a.shape) == 16) return launch(std::integral_constant<int, 16>());
    return launch(std::integral_constant<int, 8>());
  });
}

cudaError_t launch_append(const AttentionArgs& a, const LaunchTarget& on) {
  return launch_kernel(append, dim3(static_cast<unsigned>(a.m)), 32 * kAppendWarps, 0, on.stream, on.overlap, a);
}

cudaError_t launch_attend_many(const AttentionArgs& a, const Segment* segments, int count, int most_rows,
                               const LaunchTarget& on) {
  return with_head_dim(a.shape.head_dim, [&](auto dim) {
    const int rows = most_rows * a.shape.group();
    const dim3 grid(static_cast<unsigned>((rows + kBlockRows - 1) / kBlockRows),
                    static_cast<unsigned>(a.shape.kv_heads), static_cast<unsigned>(count));
    return launch_kernel(attend_many<dim()>, grid, kAttendThreads, many_smem<dim()>(), on.stream, on.overlap, a,
                         segments);
  });
}

}  // namespace awq::backend::cuda
