#include "backend/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/cpu/float_gemm.h"
#include "backend/cpu/row_ops.h"

namespace awq::backend::cpu {
namespace {

// Query rows handled together: the score tile is 64 x (visible keys), 128 kB for a window of 512, which stays in L2.
constexpr int64_t kQueryRows = 64;
// Up to here a product with few rows costs more in oneDNN's packing than dot products straight from the cache.
constexpr int64_t kFewRows = 4;

// Scores of one task. Kept by the thread so that the token loop does not allocate.
float* score_scratch(int64_t floats) {
  thread_local std::vector<float> scratch;
  if (std::ssize(scratch) < floats) scratch.resize(floats);
  return scratch.data();
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
  const MatrixView<float> scores(score_scratch(count * keys), count, keys);
  sgemm_nt(head_columns(job.q, head, d).rows_from(rows.begin, count), head_columns(job.k, kv, d).rows_from(begin, keys),
           scores);
  const float scale = 1.f / std::sqrt(static_cast<float>(d));
  for (int64_t i = 0; i < count; ++i)
    masked_softmax(scores.row_span(i), visible(shape, job.first + rows.begin + i), begin, scale);
  sgemm_nn(scores, head_columns(job.v, kv, d).rows_from(begin, keys),
           head_columns(job.out, head, d).rows_from(rows.begin, count));
}

// Few new tokens on a long context: all query heads of one kv head at once, so that each key and value is read once.
void attend_few(const AttentionShape& shape, const AttentionJob& job, int64_t kv) {
  const RowOps& ops = row_ops();
  const int64_t d = shape.head_dim, group = shape.heads / shape.kv_heads, t = job.q.rows;
  const int64_t begin = visible(shape, job.first).begin, keys = job.first + t - begin;
  const MatrixView<float> scores(score_scratch(t * group * keys), t * group, keys);
  const auto query = [&](int64_t r) { return job.q.row(r / group) + (kv * group + r % group) * d; };
  const auto out = [&](int64_t r) { return job.out.row(r / group) + (kv * group + r % group) * d; };
  for (int64_t j = 0; j < keys; ++j)
    for (int64_t r = 0; r < scores.rows; ++r) scores(r, j) = ops.dot(query(r), job.k.row(begin + j) + kv * d, d);
  const float scale = 1.f / std::sqrt(static_cast<float>(d));
  for (int64_t r = 0; r < scores.rows; ++r) {
    masked_softmax(scores.row_span(r), visible(shape, job.first + r / group), begin, scale);
    std::fill_n(out(r), d, 0.f);
  }
  for (int64_t j = 0; j < keys; ++j)
    for (int64_t r = 0; r < scores.rows; ++r) ops.add_scaled(out(r), scores(r, j), job.v.row(begin + j) + kv * d, d);
}

}  // namespace

void attention(ThreadPool& pool, const AttentionShape& shape, std::span<const AttentionJob> jobs) {
  const auto tasks = [&](const AttentionJob& job) {
    return job.q.rows <= kFewRows ? shape.kv_heads : shape.heads * pieces(job.q.rows, kQueryRows);
  };
  int64_t total = 0;
  for (const AttentionJob& job : jobs) total += tasks(job);
  pool.parallel_for(total, [&](int64_t task) {
    const AttentionJob* job = jobs.data();
    while (task >= tasks(*job)) task -= tasks(*job++);
    if (job->q.rows <= kFewRows) return attend_few(shape, *job, task);
    attend_rows(shape, *job, task % shape.heads, piece(task / shape.heads, kQueryRows, job->q.rows));
  });
}

}  // namespace awq::backend::cpu
