#include "backend/cpu/attention.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "backend/cpu/float_gemm.h"
#include "backend/cpu/row_ops.h"

namespace awq::backend::cpu {
namespace {

// Query rows handled together: the score tile is 64 x (visible keys), 128 kB for a window of 512, which stays in L2.
constexpr int64_t kQueryRows = 64;
// Up to here a product costs more in oneDNN's packing than dot products straight from the cache, and a short prompt
// does not wait for oneDNN to generate its code (45 ms, once a process).
constexpr int64_t kFewRows = 16;
// Keys that all query heads of a group go over before the next ones: 128 kB at head_dim 128, read once from memory.
constexpr int64_t kKeyBand = 256;

// Memory for scores, of the thread that asks, one for each use; doubled as contexts grow, so the token loop does not
// allocate.
enum class Scores { kOfOneTask, kOfAllTasks };
template <Scores kUse>
float* score_memory(int64_t floats) {
  thread_local std::vector<float> memory;
  if (std::ssize(memory) < floats) memory.resize(std::bit_ceil(static_cast<size_t>(floats)));
  return memory.data();
}

Range visible(const AttentionShape& shape, int64_t position) {
  const int64_t begin = shape.sliding_window > 0 ? std::max<int64_t>(0, position - shape.sliding_window + 1) : 0;
  return {begin, position + 1};
}

template <class T>
MatrixView<T> head_columns(MatrixView<T> x, int64_t head, int64_t d) {
  return x.cols_from(head * d, d);
}

// Softmax over the keys a query may see; zero for the others, so that the product with v may run over all columns.
void masked_softmax(std::span<float> scores, Range seen, int64_t first_key, float scale) {
  float* begin = scores.data() + (seen.begin - first_key);
  float* end = scores.data() + (seen.end - first_key);
  std::fill(scores.data(), begin, 0.f);
  row_ops().softmax(begin, scale, end - begin);
  std::fill(end, scores.data() + scores.size(), 0.f);
}

void attend_rows(const AttentionShape& shape, const AttentionJob& job, int64_t head, Range rows) {
  const int64_t d = shape.head_dim, kv = head / (shape.heads / shape.kv_heads), count = rows.end - rows.begin;
  const int64_t begin = visible(shape, job.first + rows.begin).begin, keys = job.first + rows.end - begin;
  const MatrixView<float> scores(score_memory<Scores::kOfOneTask>(count * keys), count, keys);
  sgemm_nt(head_columns(job.q, head, d).rows_from(rows.begin, count), head_columns(job.k, kv, d).rows_from(begin, keys),
           scores);
  const float scale = 1.f / std::sqrt(static_cast<float>(d));
  for (int64_t i = 0; i < count; ++i)
    masked_softmax(scores.row_span(i), visible(shape, job.first + rows.begin + i), begin, scale);
  sgemm_nn(scores, head_columns(job.v, kv, d).rows_from(begin, keys),
           head_columns(job.out, head, d).rows_from(rows.begin, count));
}

bool few(const AttentionJob& job) { return job.q.rows <= kFewRows; }

Range keys_of(const AttentionShape& shape, const AttentionJob& job) {
  return {visible(shape, job.first).begin, job.first + job.q.rows};
}

// Scores that attend_few needs for one kv head.
int64_t few_scores(const AttentionShape& shape, const AttentionJob& job) {
  const Range keys = keys_of(shape, job);
  return job.q.rows * (shape.heads / shape.kv_heads) * (keys.end - keys.begin);
}

// Few new tokens on a long context: all query heads of one kv head, a band of keys at a time.
void attend_few(const AttentionShape& shape, const AttentionJob& job, int64_t kv, float* memory) {
  const RowOps& ops = row_ops();
  const int64_t d = shape.head_dim, group = shape.heads / shape.kv_heads;
  const int64_t begin = keys_of(shape, job).begin, keys = keys_of(shape, job).end - begin;
  const MatrixView<float> scores(memory, job.q.rows * group, keys);
  const auto k = head_columns(job.k, kv, d).rows_from(begin, keys),
             v = head_columns(job.v, kv, d).rows_from(begin, keys);
  const auto each_band = [&](const auto& body) {  // body(query row, its first column of q and out, band of keys)
    for (int64_t b = 0; b < pieces(keys, kKeyBand); ++b)
      for (int64_t r = 0; r < scores.rows; ++r) body(r, (kv * group + r % group) * d, piece(b, kKeyBand, keys));
  };
  each_band([&](int64_t r, int64_t column, Range band) {
    ops.dot_rows(job.q.row(r / group) + column, k.row(band.begin), k.stride, band.end - band.begin,
                 scores.row(r) + band.begin, d);
  });
  const float scale = 1.f / std::sqrt(static_cast<float>(d));
  for (int64_t r = 0; r < scores.rows; ++r) {
    masked_softmax(scores.row_span(r), visible(shape, job.first + r / group), begin, scale);
    std::fill_n(job.out.row(r / group) + (kv * group + r % group) * d, d, 0.f);
  }
  each_band([&](int64_t r, int64_t column, Range band) {
    ops.add_weighted_rows(scores.row(r) + band.begin, v.row(band.begin), v.stride, band.end - band.begin,
                          job.out.row(r / group) + column, d);
  });
}

}  // namespace

void attention(ThreadPool& pool, const AttentionShape& shape, std::span<const AttentionJob> jobs) {
  const auto tasks = [&](const AttentionJob& job) {
    return few(job) ? shape.kv_heads : shape.heads * pieces(job.q.rows, kQueryRows);
  };
  const auto floats = [&](const AttentionJob& job) { return few(job) ? shape.kv_heads * few_scores(shape, job) : 0; };
  int64_t total_tasks = 0, total_floats = 0;
  for (const AttentionJob& job : jobs) total_tasks += tasks(job), total_floats += floats(job);
  // The caller's memory, because which workers take part, and would have to grow theirs, is left to chance.
  float* const memory = score_memory<Scores::kOfAllTasks>(total_floats);
  pool.parallel_for(total_tasks, [&](int64_t task) {
    const AttentionJob* job = jobs.data();
    int64_t used = 0;
    for (; task >= tasks(*job); ++job) task -= tasks(*job), used += floats(*job);
    if (few(*job)) return attend_few(shape, *job, task, memory + used + task * few_scores(shape, *job));
    attend_rows(shape, *job, task % shape.heads, piece(task / shape.heads, kQueryRows, job->q.rows));
  });
}

}  // namespace awq::backend::cpu
