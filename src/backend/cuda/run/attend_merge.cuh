// How the sums that attend_one's warps leave come together, in units of four numbers of a row: always in one order, so
// that the same input gives the same bits.
//
//   in a block     the warps' sums are relative to their largest score each; added up in order of the warps
//   in a cluster   (9.0) every block owns a share of the units, and the others send theirs into its shared memory,
//                  where a barrier counts the bytes: barriers of the cluster would wait for all writes of a thread
//   beyond         a cluster leaves its units in L2; the block that arrives last adds them up, in order of the parts
#pragma once
#include "backend/cuda/kernels/cluster.cuh"
#include "backend/cuda/kernels/wgmma.cuh"
#include "backend/cuda/run/attend_rows.cuh"
#include "backend/cuda/run/last_block.cuh"

namespace awq::backend::cuda {

inline constexpr int kWarps = 4, kAttendThreads = 32 * kWarps;

__device__ constexpr int divide_up(int a, int b) { return (a + b - 1) / b; }

struct RowSum {
  float4 sum;
  float most, total;
};

// Adds up `count` sums of one row: weights them by 2^(most - the largest most). stats_of(i): {most, total}. The values
// of kAtOnce are in flight together.
template <int kAtOnce, class StatsOf, class SumOf>
__device__ __forceinline__ RowSum merged(int count, const StatsOf& stats_of, const SumOf& sum_of) {
  RowSum all{make_float4(0.f, 0.f, 0.f, 0.f), kNothing, 0.f};
  for (int i = 0; i < count; ++i) all.most = fmaxf(all.most, stats_of(i).x);
  const float base = all.most == kNothing ? 0.f : all.most;
  for (int first = 0; first < count; first += kAtOnce) {
    float4 value[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
      if (first + i < count) value[i] = sum_of(first + i);
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (first + i >= count) continue;
      const float2 stats = stats_of(first + i);
      const float weight = exp2f(stats.x - base);
      all.total += stats.y * weight;
      all.sum.x += value[i].x * weight, all.sum.y += value[i].y * weight;
      all.sum.z += value[i].z * weight, all.sum.w += value[i].w * weight;
    }
  }
  return all;
}

template <int kD, int kRows>
struct MeetingShape {
  static constexpr int kSumPitch = kD + 4;
  // Bytes: of a warp's sums [warp][row] {most, total}; what the blocks of a cluster sent, [block][unit] and
  // [block][row] {most, total, 0, 0}; the barrier that counts it.
  static constexpr int kSentAt = kWarps * kRows * 8;
  static constexpr int kSentStatsAt = kSentAt + kRows * kD * 4 + kMostInCluster * 16;
  static constexpr int kArrivedAt = kSentStatsAt + kMostInCluster * kRows * 16;
  static constexpr int kBytes = kArrivedAt + 16;
  static constexpr int kSumBytes = kWarps * kRows * kSumPitch * 4;  // a warp's sums [warp][row][kSumPitch], elsewhere
  static constexpr int kPartial = kRows * (kD + 2);  // floats that a cluster leaves: sums, then {most, total} of rows
};

// What the parts of a block are for one unit of work: a context's kv head, and up to kRows of its query heads.
template <int kD, int kRows>
class Meeting {
 public:
  using Shape = MeetingShape<kD, kRows>;
  int first, end;  // the units whose sums this block completes

  __device__ __forceinline__ Meeting(unsigned char* memory, unsigned char* sums, int heads, int d, int together)
      : stats_(reinterpret_cast<float2*>(memory)),
        sent_(reinterpret_cast<float4*>(memory + Shape::kSentAt)),
        sent_stats_(reinterpret_cast<float4*>(memory + Shape::kSentStatsAt)),
        arrived_(smem_address(memory + Shape::kArrivedAt)),
        sums_(reinterpret_cast<float*>(sums)),
        heads_(heads),
        a_row_(d / 4),
        rank_(together > 1 ? rank_in_cluster() : 0),
        together_(together),
        share_(divide_up(heads * a_row_, together)) {
    first = min(rank_ * share_, heads * a_row_);
    end = min(first + share_, heads * a_row_);
  }

  __device__ __forceinline__ int row(int unit) const { return unit / a_row_; }

  // At the start of the kernel: the others may send as soon as they see that it is done.
  __device__ __forceinline__ void begin() const {
#if __CUDA_ARCH__ >= 900
    if (together_ == 1) return;
    if (threadIdx.x == 0) {
      barrier_init(arrived_, 1);
      barriers_are_ready();
      barrier_expect(arrived_, together_ * (end - first + heads_) * 16);
    }
    arrive_at_cluster_relaxed();
#endif
  }

  // What a warp leaves its sums in. Afterwards, and after __syncthreads(), meet().
  __device__ __forceinline__ float* sums_of(int warp) const { return sums_ + warp * kRows * Shape::kSumPitch; }
  __device__ __forceinline__ float2* stats_of(int warp) const { return stats_ + warp * kRows; }

  // Gives every block of the cluster its units.
  __device__ __forceinline__ void meet() const {
#if __CUDA_ARCH__ >= 900
    if (together_ == 1) return;
    wait_for_cluster();  // all its blocks have started, and made their barriers
    for (int unit = threadIdx.x; unit < heads_ * a_row_; unit += kAttendThreads) {
      const int owner = unit / share_;
      const RowSum sum = of_warps(unit);
      send(sent_ + rank_ * share_ + unit - owner * share_, owner, sum.sum);
    }
    for (int i = threadIdx.x; i < heads_ * together_; i += kAttendThreads) {
      const int r = i / together_;
      const RowSum sum = of_warps(r * a_row_);
      send(sent_stats_ + rank_ * kRows + r, i % together_, make_float4(sum.most, sum.total, 0.f, 0.f));
    }
    cluster_barrier_wait(arrived_);
#endif
  }

  // A unit of this block, after meet().
  __device__ __forceinline__ RowSum sum(int unit) const {
    if (together_ == 1) return of_warps(unit);
    const int r = row(unit);
    const auto stats_of = [&](int b) { return *reinterpret_cast<const float2*>(sent_stats_ + b * kRows + r); };
    return merged<kMostInCluster>(together_, stats_of, [&](int b) { return sent_[b * share_ + unit - first]; });
  }

  // A unit in L2, of the cluster's: the first one of a row has its statistics.
  __device__ __forceinline__ void publish(float* partial, int unit, const RowSum& sum) const {
    __stcg(reinterpret_cast<float4*>(partial) + unit, sum.sum);
    // Blocks that share a row write the same.
    if (unit == first || unit % a_row_ == 0)
      __stcg(reinterpret_cast<float2*>(partial + kRows * kD) + row(unit), make_float2(sum.most, sum.total));
  }

  // What `clusters` left, in the block that arrived last, which calls read_stats() before.
  __device__ __forceinline__ void read_stats(const float* partials, int clusters) const {
    auto* const stats = reinterpret_cast<float2*>(sums_);  // [cluster][row], over the sums of before
    for (int i = threadIdx.x; i < clusters * heads_; i += kAttendThreads)
      stats[i] =
          __ldcg(reinterpret_cast<const float2*>(partials + i / heads_ * Shape::kPartial + kRows * kD) + i % heads_);
    __syncthreads();
  }
  __device__ __forceinline__ RowSum sum_of_clusters(const float* partials, int clusters, int unit) const {
    const auto* const stats = reinterpret_cast<const float2*>(sums_);
    const auto stats_of = [&](int c) { return stats[c * heads_ + row(unit)]; };
    return merged<8>(clusters, stats_of, [&](int c) {
      return __ldcg(reinterpret_cast<const float4*>(partials + c * Shape::kPartial) + unit);
    });
  }

 private:
  __device__ __forceinline__ RowSum of_warps(int unit) const {
    const int r = row(unit), at = unit - r * a_row_;
    const auto stats_of = [&](int w) { return stats_[w * kRows + r]; };
    return merged<kWarps>(kWarps, stats_of, [&](int w) {
      return reinterpret_cast<const float4*>(sums_ + (w * kRows + r) * Shape::kSumPitch)[at];
    });
  }

  __device__ __forceinline__ void send(const float4* to, int block, float4 v) const {
#if __CUDA_ARCH__ >= 900
    store_counted(address_in_block(block, smem_address(to)), v.x, v.y, v.z, v.w, address_in_block(block, arrived_));
#endif
  }

  float2* const stats_;
  float4 *const sent_, *const sent_stats_;
  const uint32_t arrived_;
  float* const sums_;
  const int heads_, a_row_, rank_, together_, share_;  // a_row_: units; share_: units of a block
};

}  // namespace awq::backend::cuda
