#include "backend/cpu/decoder_block.h"

#include <algorithm>

#include "backend/cpu/row_ops.h"
#include "core/checked.h"

namespace awq::backend::cpu {
namespace {

constexpr int64_t kRowsATask = 16;

template <class Body>
void for_rows(ThreadPool& pool, int64_t rows, const Body& body) {
  pool.parallel_for(pieces(rows, kRowsATask), [&](int64_t i) {
    const Range r = piece(i, kRowsATask, rows);
    for (int64_t row = r.begin; row < r.end; ++row) body(row);
  });
}

std::vector<int64_t> buffer_columns(const model::ModelConfig& c) {
  const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  return {c.hidden, q, kv, kv, c.intermediate, c.intermediate, c.hidden};
}

void norm_and_rotate(const model::ModelConfig& config, std::span<const float> norm, const RopeTable& rope,
                     int64_t position, std::span<float> heads) {
  const RowOps& ops = row_ops();
  for (float* head = heads.data(); head < heads.data() + heads.size(); head += config.head_dim) {
    if (!norm.empty()) ops.rms_norm(head, norm.data(), static_cast<float>(config.norm_eps), head, config.head_dim);
    ops.rotate(head, rope.cos(position), rope.sin(position), rope.half());
  }
}

}  // namespace

BlockBuffers::BlockBuffers(const model::ModelConfig& config, int64_t max_rows) : cols_(buffer_columns(config)) {
  for (const int64_t cols : cols_)
    data_.push_back(std::make_unique_for_overwrite<float[]>(checked_mul(cols, max_rows, "a buffer")));
}

int64_t BlockBuffers::floats_per_row(const model::ModelConfig& config) {
  int64_t sum = 0;
  for (const int64_t cols : buffer_columns(config)) sum += cols;
  return sum;
}

int64_t BlockBuffers::rows_within(const model::ModelConfig& config, uint64_t bytes, int64_t least) {
  return std::max<int64_t>(least, static_cast<int64_t>(bytes / sizeof(float)) / floats_per_row(config));
}

AttentionShape attention_shape(const model::ModelConfig& config, int64_t layer) {
  const bool slides = layer < std::ssize(config.layer_slides) && config.layer_slides[layer];
  return {config.heads, config.kv_heads, config.head_dim, slides ? config.sliding_window : 0};
}

void rms_norm_rows(ThreadPool& pool, MatrixView<const float> x, std::span<const float> weight, double eps,
                   MatrixView<float> y) {
  const RowOps& ops = row_ops();
  for_rows(pool, x.rows,
           [&](int64_t r) { ops.rms_norm(x.row(r), weight.data(), static_cast<float>(eps), y.row(r), x.cols); });
}

void add_rows(ThreadPool& pool, MatrixView<float> y, MatrixView<const float> x) {
  for_rows(pool, x.rows, [&](int64_t r) { row_ops().add(y.row(r), x.row(r), x.cols); });
}

void project_qkv(ThreadPool& pool, const model::ModelConfig& config, const DecoderBlock& block, const RopeTable& rope,
                 std::span<const int64_t> positions, MatrixView<const float> x, const BlockBuffers& buffers) {
  const auto q = buffers.q(x.rows), k = buffers.k(x.rows);
  block.q->forward(pool, x, q);
  block.k->forward(pool, x, k);
  block.v->forward(pool, x, buffers.v(x.rows));
  for_rows(pool, x.rows, [&](int64_t r) {
    norm_and_rotate(config, block.q_norm, rope, positions[r], q.row_span(r));
    norm_and_rotate(config, block.k_norm, rope, positions[r], k.row_span(r));
  });
}

void gated_activation(ThreadPool& pool, const DecoderBlock& block, MatrixView<const float> y,
                      const BlockBuffers& buffers) {
  const auto gate = buffers.gate(y.rows), up = buffers.up(y.rows);
  block.gate->forward(pool, y, gate);
  block.up->forward(pool, y, up);
  for_rows(pool, y.rows, [&](int64_t r) { row_ops().silu_mul(gate.row(r), up.row(r), gate.cols); });
}

}  // namespace awq::backend::cpu
