#include "backend/cpu/float_gemm.h"

#include <dnnl.h>
#include <omp.h>

#include <string>

#include "core/checked.h"

namespace awq::backend::cpu {
namespace {

// 256 x 512 tiles: 2-core Zen 5 ran single-threaded oneDNN calls of this size at 430-490 GFLOP/s together, its peak
// being 512; letting oneDNN thread one call itself gave 50-200 at m <= 128 (dnnl 2.6.3, 2026-11-21).
constexpr int64_t kTileM = 256, kTileN = 512;

void sgemm(char ta, char tb, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb,
           float beta, float* c, int64_t ldc) {
  thread_local const bool once = (single_threaded_onednn(), true);
  (void)once;
  const dnnl_status_t status = dnnl_sgemm(ta, tb, m, n, k, 1.f, a, lda, b, ldb, beta, c, ldc);
  if (status == dnnl_out_of_memory) throw Error(ErrorKind::kNoRoom, "oneDNN ran out of host memory");
  AWQ_ASSERT(status == dnnl_success);
}

}  // namespace

void single_threaded_onednn() { omp_set_num_threads(1); }

void sgemm_nt(MatrixView<const float> x, MatrixView<const float> w, MatrixView<float> y) {
  AWQ_ASSERT(x.cols == w.cols && y.rows == x.rows && y.cols == w.rows);
  sgemm('N', 'T', y.rows, y.cols, x.cols, x.data, x.stride, w.data, w.stride, 0.f, y.data, y.stride);
}

void sgemm_nn(MatrixView<const float> a, MatrixView<const float> b, MatrixView<float> c) {
  AWQ_ASSERT(a.cols == b.rows && c.rows == a.rows && c.cols == b.cols);
  sgemm('N', 'N', c.rows, c.cols, a.cols, a.data, a.stride, b.data, b.stride, 0.f, c.data, c.stride);
}

void matmul_nt(ThreadPool& pool, MatrixView<const float> x, MatrixView<const float> w, MatrixView<float> y,
               std::span<const float> bias) {
  AWQ_ASSERT(x.cols == w.cols && y.rows == x.rows && y.cols == w.rows && (bias.empty() || std::ssize(bias) == y.cols));
  const int64_t across = pieces(y.cols, kTileN);
  pool.parallel_for(pieces(y.rows, kTileM) * across, [&](int64_t tile) {
    const Range r = piece(tile / across, kTileM, y.rows), c = piece(tile % across, kTileN, y.cols);
    sgemm('N', 'T', r.end - r.begin, c.end - c.begin, x.cols, x.row(r.begin), x.stride, w.row(c.begin), w.stride, 0.f,
          y.row(r.begin) + c.begin, y.stride);
    if (bias.empty()) return;
    for (int64_t i = r.begin; i < r.end; ++i)
      for (int64_t j = c.begin; j < c.end; ++j) y(i, j) += bias[j];
  });
}

void matmul_nn(ThreadPool& pool, MatrixView<const float> a, MatrixView<const float> b, MatrixView<float> c,
               bool accumulate) {
  AWQ_ASSERT(a.cols == b.rows && c.rows == a.rows && c.cols == b.cols);
  const int64_t across = pieces(c.cols, kTileN);
  pool.parallel_for(pieces(c.rows, kTileM) * across, [&](int64_t tile) {
    const Range r = piece(tile / across, kTileM, c.rows), cc = piece(tile % across, kTileN, c.cols);
    sgemm('N', 'N', r.end - r.begin, cc.end - cc.begin, a.cols, a.row(r.begin), a.stride, b.data + cc.begin, b.stride,
          accumulate ? 1.f : 0.f, c.row(r.begin) + cc.begin, c.stride);
  });
}

void gram_accumulate(ThreadPool& pool, MatrixView<const float> x, MatrixView<float> h) {
  AWQ_ASSERT(h.rows == x.cols && h.cols == x.cols);
  const int64_t tiles = pieces(h.rows, kTileM);
  pool.parallel_for(tiles * tiles, [&](int64_t tile) {
    const int64_t ti = tile / tiles, tj = tile % tiles;
    if (ti > tj) return;
    const Range r = piece(ti, kTileM, h.rows), c = piece(tj, kTileM, h.cols);
    sgemm('T', 'N', r.end - r.begin, c.end - c.begin, x.rows, x.data + r.begin, x.stride, x.data + c.begin, x.stride,
          1.f, h.row(r.begin) + c.begin, h.stride);
  });
}

void mirror_upper(ThreadPool& pool, MatrixView<float> h) {
  const int64_t bands = pieces(h.rows, 64);
  pool.parallel_for(bands, [&](int64_t band) {
    const Range r = piece(band, 64, h.rows);
    for (int64_t i = r.begin; i < r.end; ++i)
      for (int64_t j = 0; j < i; ++j) h(i, j) = h(j, i);
  });
}

}  // namespace awq::backend::cpu
