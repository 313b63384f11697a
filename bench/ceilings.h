// The two ceilings that kernel rows are compared with, measured in the same run: streaming reads from memory and
// oneDNN's dense float32 product.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "core/matrix_view.h"
#include "core/thread_pool.h"

namespace awq::bench {

// Bytes a second at which all threads of the pool together read memory once; the best of several passes over 1 GiB (or
// an eighth of the memory).
double read_bandwidth(ThreadPool&, uint64_t memory_bytes);

// Calls `launch(copy)` with the copies in turn, so that weights come from memory, until `seconds` have passed and at
// least `min_calls` were made. Microseconds per call, ascending.
std::vector<double> time_calls(int copies, double seconds, int min_calls, const std::function<void(int copy)>& launch);

double percentile(const std::vector<double>& ascending, double p);

// y (m, n) = x (m, k) w', oneDNN threading one call itself on `threads` cores; runs `body` where such calls are set up.
void with_onednn_threads(int threads, const std::function<void()>& body);
void onednn_matmul(MatrixView<const float> x, MatrixView<const float> w, MatrixView<float> y);

}  // namespace awq::bench
