// draw_token -- a token of each row of logits, as run::Sampler draws it: with the same logits, parameters and uniform
// number the same token, because both add up the integers of core/token_weight.h. So the whole draw can stay here, and
// 4 bytes a token cross to the host instead of a row of logits (513 KB for Llama-3). Two kernels after pick_token:
//
//   weigh_tokens   the weight of every token, from the largest logit down; the last block of a row then draws, where
//                  tokens count in the order of their ids: the part of the row that the point falls into, the token in
//                  it. With top-k or top-p it finds in counts and weights by quarters of a halving how far down the
//                  tokens that can be drawn reach.
//   choose_token   lists the tokens that reach so far; the last block of a row sorts them (some 50 to 500 of 128k) and
//                  finds three places in their order: where top-k ends, where top-p ends, where the point falls.
//                  Beyond kListed of them it finds the places in the row itself, a byte of the key at a time.
//
// Atomic additions are of integers, and candidates are sorted by keys that all differ: nothing depends on the order in
// which blocks run. Neither kernel knows the parameters before it runs: they lie in memory, other ones for every row,
// so that one captured graph serves all steps.
//
// Bound, 128,256 logits, one row: each kernel reads 513 KB from L2, 4 KB a block in 128 blocks: under 1 us at 4 TB/s;
// two launches, two arrivals of a last block, about 1 us each; sorting n <= 1024 keys, 55 steps of two barriers' length
// (~60 ns): 3.3 us, for n <= 64 1.3 us. In all 6 to 9 us a token, against 1.1 ms that an 8B model's step takes. The
// search in the row, when more than kListed tokens can be drawn: 7 passes of one block over 513 KB (64 B a clock: ~5
// us) for each place: 70 to 110 us. These are bounds from the counts above, not measurements.
#include "backend/cuda/kernels/fragments.cuh"
#include "backend/cuda/kernels/launch_kernel.h"
#include "backend/cuda/run/draw_places.cuh"
#include "backend/cuda/run/last_block.cuh"
#include "backend/cuda/run/pick_token.h"

namespace awq::backend::cuda {
namespace {

constexpr int kThreads = 256;
static_assert(kWeightBins <= kThreads && kDrawBlocks <= kThreads && kPickBlocks <= kThreads, "one each for a thread");

using Wide = unsigned long long;  // what CUDA's functions call a uint64_t
__device__ __forceinline__ uint64_t shared_by_blocks(const uint64_t* p) {
  return __ldcg(reinterpret_cast<const Wide*>(p));
}

struct Part {
  int64_t begin, end;
};
// Part `i` of `count` equal ones of [begin, end).
__device__ __forceinline__ Part part_of(Part whole, int i, int count) {
  const int64_t each = (whole.end - whole.begin + count - 1) / count;
  const int64_t begin = min(whole.begin + i * each, whole.end);
  return {begin, min(begin + each, whole.end)};
}

__device__ uint64_t weight_of_all(const float* logits, Part part, const DrawPlan& plan) {
  uint64_t sum = 0;
  for (int64_t id = part.begin; id < part.end; ++id) sum += weight_of(plan, logits[id]);
  return sum;
}

// The first token, by id, through which more than uniform * total has passed.
__device__ void draw_by_id(const DrawArgs& a, const float* logits, const DrawRow& row, const DrawPlan& plan) {
  __shared__ int block;
  __shared__ uint64_t left;  // of the way, from where its part begins
  const int thread = static_cast<int>(threadIdx.x);
  const uint64_t of_block = threadIdx.x < gridDim.x ? shared_by_blocks(row.sums + threadIdx.x) : 0;
  const RunningSum blocks = block_scan<kThreads>(of_block);
  const uint64_t point = mul_high(plan.numbers.uniform, blocks.total), before = blocks.through - of_block;
  if (before <= point && point < blocks.through) block = thread, left = point - before;
  __syncthreads();
  const Part part = part_of(part_of({0, a.vocab}, block, static_cast<int>(gridDim.x)), thread, kThreads);
  const uint64_t of_part = weight_of_all(logits, part, plan);
  const uint64_t through = block_scan<kThreads>(of_part).through;
  if (through - of_part > left || left >= through) return;
  uint64_t passed = through - of_part;
  int64_t id = part.begin;
  while ((passed += weight_of(plan, logits[id])) <= left) ++id;
  a.ids[blockIdx.y] = static_cast<int32_t>(id);
}

// How far down tokens can be drawn: to the end of the bin in which top-k ends, or else top-p.
__device__ void plan_from_the_top(DrawRow& row, DrawPlan plan) {
  const int bin = static_cast<int>(threadIdx.x);
  const bool is_bin = bin < kWeightBins;
  const uint64_t count = is_bin ? __ldcg(row.bin_counts + bin) : 0;
  const uint64_t weight = is_bin ? shared_by_blocks(row.bin_weights + bin) : 0;
  if (is_bin) row.bin_counts[bin] = 0, row.bin_weights[bin] = 0;
  const RunningSum counts = block_scan<kThreads>(count), weights = block_scan<kThreads>(weight);
  const uint64_t top_k = plan.numbers.top_k, needed = plan.numbers.to_hold(weights.total);
  plan.count = static_cast<int32_t>(top_k > 0 ? min(top_k, counts.total) : counts.total);
  plan.total = weights.total;
  const auto reaches = [&](uint64_t tokens, uint64_t held) {
    return top_k > 0 ? tokens >= static_cast<uint64_t>(plan.count) : held >= needed;
  };
  if (reaches(counts.through - count, weights.through - weight) || !reaches(counts.through, weights.through)) return;
  // Down to (bin + 1) quarters of a halving; what lies a rounding lower is listed too, and does no harm.
  const double depth = (bin + 1) * 0x1p30 * plan.numbers.unscale * (1 + 0x1p-40);
  plan.least = nextafterf(static_cast<float>(double{plan.largest} - depth), -INFINITY);
  row.plan = plan;
}

__global__ void __launch_bounds__(kThreads) weigh_tokens(DrawArgs a) {
  __shared__ DrawNumbers numbers;
  __shared__ Bins<kWeightBins> bins;
  allow_next_kernel();
  if (threadIdx.x == 0)
    numbers = a.draws[blockIdx.y];  // perhaps from the host: while the kernel ahead is still running
  bins.clear();
  wait_for_previous_kernel();
  DrawRow& row = a.rows[blockIdx.y];
  const float* const logits = a.logits + blockIdx.y * a.vocab;
  const uint64_t* const best = a.best + blockIdx.y * kPickBlocks;
  const uint64_t top = block_max<kThreads>(threadIdx.x < kPickBlocks ? shared_by_blocks(best + threadIdx.x) : 0);
  if (blockIdx.x == 0 && threadIdx.x == 0) row.plan.count = 0;
  if (numbers.scale == 0 || top == 0) return;
  DrawPlan plan{.numbers = numbers, .largest = logit_of(top)};
  const bool from_the_top = numbers.from_the_top();
  const Part part = part_of({0, a.vocab}, static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x));
  uint64_t sum = 0;
  for (int64_t id = part.begin + threadIdx.x; id < part.end; id += kThreads) {
    const uint64_t halvings = halvings_below(plan.largest, logits[id], numbers.scale), weight = weight_after(halvings);
    sum += weight;
    if (from_the_top && weight > 0) bins.add(static_cast<int>(halvings >> 30), weight);
  }
  const RunningSum block = block_scan<kThreads>(sum);  // a barrier: the bins are complete
  if (threadIdx.x == 0) row.sums[blockIdx.x] = block.total;
  const int bin = static_cast<int>(threadIdx.x);
  if (from_the_top && bin < kWeightBins && bins.counts[bin] > 0) {
    atomicAdd(row.bin_counts + bin, static_cast<int>(bins.counts[bin]));
    atomicAdd(reinterpret_cast<Wide*>(row.bin_weights + bin), static_cast<Wide>(bins.weight(bin)));
  }
  if (!arrives_last(&row.weighed_ticket, static_cast<int>(gridDim.x))) return;
  if (from_the_top)
    plan_from_the_top(row, plan);
  else
    draw_by_id(a, logits, row, plan);
}

template <class Places>
__device__ int32_t drawn_from(const DrawPlan& plan, const Places& places) {
  uint64_t total = plan.total;
  if (plan.numbers.top_k > 0) total = places.first_that(CountReaches{static_cast<uint64_t>(plan.count)}).weight;
  if (plan.numbers.top_p != DrawNumbers::kAll)
    total = places.first_that(WeightReaches{plan.numbers.to_hold(total)}).weight;
  return id_of(places.first_that(WeightReaches{mul_high(plan.numbers.uniform, total) + 1}).key);
}

__global__ void __launch_bounds__(kPlaceThreads) choose_token(DrawArgs a) {
  allow_next_kernel();
  wait_for_previous_kernel();
  DrawRow& row = a.rows[blockIdx.y];
  const DrawPlan plan = row.plan;
  if (plan.count == 0) return;
  const float* const logits = a.logits + blockIdx.y * a.vocab;
  for (int64_t id = blockIdx.x * kPlaceThreads + threadIdx.x; id < a.vocab; id += int64_t{gridDim.x} * kPlaceThreads) {
    if (!(logits[id] >= plan.least)) continue;  // NaN too
    const int at = atomicAdd(&row.listed, 1);
    if (at < kListed) row.list[at] = key_of(logits[id], static_cast<int>(id));
  }
  if (!arrives_last(&row.listed_ticket, static_cast<int>(gridDim.x))) return;
  const int n = __ldcg(&row.listed);
  const int32_t id = n <= kListed ? drawn_from(plan, ListedPlaces(row.list, n, plan))
                                  : drawn_from(plan, RowPlaces(logits, a.vocab, plan));
  if (threadIdx.x == 0) row.listed = 0, a.ids[blockIdx.y] = id;  // every thread has read it: barriers lie between
}

}  // namespace

cudaError_t launch_draw(const DrawArgs& a, const LaunchTarget& on) {
  const auto m = static_cast<unsigned>(a.m), blocks = max(8u, kDrawBlocks / m);
  if (const cudaError_t e = launch_kernel(weigh_tokens, dim3(blocks, m), kThreads, 0, on.stream, on.overlap, a);
      e != cudaSuccess)
    return e;
  return launch_kernel(choose_token, dim3(blocks / 4, m), kPlaceThreads, 0, on.stream, on.overlap, a);
}

}  // namespace awq::backend::cuda
