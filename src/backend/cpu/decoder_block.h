// The steps of one decoder block over linears of any kind; who calls them decides where keys and values live.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/cpu/attention.h"
#include "backend/cpu/linear.h"
#include "backend/cpu/rope.h"
#include "core/matrix_view.h"
#include "core/thread_pool.h"
#include "model/config.h"

namespace awq::backend::cpu {

struct DecoderBlock {
  std::span<const float> input_norm, post_attention_norm;  // (hidden)
  std::span<const float> q_norm, k_norm;                   // (head_dim), empty where the architecture has none
  const Linear *q = nullptr, *k = nullptr, *v = nullptr, *o = nullptr, *gate = nullptr, *up = nullptr, *down = nullptr;
};

// Rows of every intermediate result, allocated once for the largest number of rows.
class BlockBuffers {
 public:
  BlockBuffers(const model::ModelConfig&, int64_t max_rows);
  static int64_t floats_per_row(const model::ModelConfig&);
  // Rows that fit into `bytes`, at least `least`.
  static int64_t rows_within(const model::ModelConfig&, uint64_t bytes, int64_t least);

  MatrixView<float> normed(int64_t rows) const { return view(0, rows); }
  MatrixView<float> q(int64_t rows) const { return view(1, rows); }  // attention overwrites it with its output
  MatrixView<float> k(int64_t rows) const { return view(2, rows); }
  MatrixView<float> v(int64_t rows) const { return view(3, rows); }
  MatrixView<float> gate(int64_t rows) const { return view(4, rows); }
  MatrixView<float> up(int64_t rows) const { return view(5, rows); }
  MatrixView<float> out(int64_t rows) const { return view(6, rows); }

 private:
  MatrixView<float> view(size_t which, int64_t rows) const { return {data_[which].get(), rows, cols_[which]}; }
  std::vector<int64_t> cols_;
  std::vector<std::unique_ptr<float[]>> data_;
};

AttentionShape attention_shape(const model::ModelConfig&, int64_t layer);

void rms_norm_rows(ThreadPool&, MatrixView<const float> x, std::span<const float> weight, double eps,
                   MatrixView<float> y);
void add_rows(ThreadPool&, MatrixView<float> y, MatrixView<const float> x);

// q, k, v of the normed input, with head norms and rotation; row i stands at position positions[i].
void project_qkv(ThreadPool&, const model::ModelConfig&, const DecoderBlock&, const RopeTable&,
                 std::span<const int64_t> positions, MatrixView<const float> x, const BlockBuffers&);
// gate = silu(gate(y)) * up(y): the input of the down projection.
void gated_activation(ThreadPool&, const DecoderBlock&, MatrixView<const float> y, const BlockBuffers&);

}  // namespace awq::backend::cpu
