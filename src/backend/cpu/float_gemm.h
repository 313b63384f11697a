// Float32 matrix products on the CPU through oneDNN, cut into tiles by shape so that the result does not depend on the
// number of threads (each tile is one single-threaded oneDNN call).
#pragma once
#include <span>

#include "core/matrix_view.h"
#include "core/thread_pool.h"

namespace awq::backend::cpu {

// y (m, n) = x (m, k) w' + bias,  w (n, k);  bias (n) or empty.
void matmul_nt(ThreadPool&, MatrixView<const float> x, MatrixView<const float> w, MatrixView<float> y,
               std::span<const float> bias = {});

// c (m, n) = a (m, k) b (k, n), or += when accumulate.
void matmul_nn(ThreadPool&, MatrixView<const float> a, MatrixView<const float> b, MatrixView<float> c,
               bool accumulate = false);

// h (k, k) += x' x for x (t, k). Only tiles on and above the diagonal are computed; call mirror() once at the end.
void gram_accumulate(ThreadPool&, MatrixView<const float> x, MatrixView<float> h);
void mirror_upper(ThreadPool&, MatrixView<float> h);

// The same two products as one oneDNN call in the calling thread: for use inside a task.
void sgemm_nt(MatrixView<const float> x, MatrixView<const float> w, MatrixView<float> y);
void sgemm_nn(MatrixView<const float> a, MatrixView<const float> b, MatrixView<float> c);

// Must run once in every thread that calls oneDNN directly: keeps OpenMP from starting threads of its own.
void single_threaded_onednn();

}  // namespace awq::backend::cpu
