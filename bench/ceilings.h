// The two ceilings that kernel rows are compared with, measured in the same run: streaming reads from memory and
// oneDNN's dense float32 product.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "backend/cpu/aligned_buffer.h"
#include "core/matrix_view.h"
#include "core/thread_pool.h"

namespace awq::bench {

// Streaming reads by all threads of the pool over 1 GiB (or an eighth of the memory).
class ReadProbe {
 public:
  ReadProbe(ThreadPool&, uint64_t memory_bytes);
  // Bytes a second, the best of three passes. To be called beside each row: on a shared host the rate comes and goes.
  double bytes_per_second();
  double slowest() const { return slowest_; }
  double quickest() const { return quickest_; }

 private:
  ThreadPool& pool_;
  backend::cpu::AlignedBuffer<uint64_t> buffer_;
  double slowest_ = 1e30, quickest_ = 0;  // answers so far
};

// Calls `launch(copy)` with the copies in turn, so that weights come from memory, until `seconds` have passed and at
// least `min_calls` were made. Microseconds per call, ascending.
std::vector<double> time_calls(int copies, double seconds, int min_calls, const std::function<void(int copy)>& launch);

// y (m, n) = x (m, k) w', oneDNN threading one call itself on `threads` cores; runs `body` where such calls are set up.
void with_onednn_threads(int threads, const std::function<void()>& body);
void onednn_matmul(MatrixView<const float> x, MatrixView<const float> w, MatrixView<float> y);

}  // namespace awq::bench
