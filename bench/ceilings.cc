#include "ceilings.h"

#include <dnnl.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "core/checked.h"

namespace awq::bench {
namespace {

using Clock = std::chrono::steady_clock;

double microseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

// Eight independent sums, so that loads and not additions set the pace; 2 KiB ahead is asked for by hand.
uint64_t sum(const uint64_t* p, int64_t count) {
  uint64_t s[8] = {};
  for (int64_t i = 0; i + 8 <= count; i += 8) {
    __builtin_prefetch(p + i + 256);
    for (int j = 0; j < 8; ++j) s[j] += p[i + j];
  }
  return s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
}

}  // namespace

ReadProbe::ReadProbe(ThreadPool& pool, uint64_t memory_bytes)
    : pool_(pool), buffer_(std::min<uint64_t>(uint64_t{1} << 30, memory_bytes / 8) / sizeof(uint64_t)) {}

double ReadProbe::bytes_per_second() {
  const int64_t count = static_cast<int64_t>(buffer_.size()), step = pieces(count, 8 * pool_.size());
  std::atomic<uint64_t> total{0};
  double best = 0;
  for (int pass = 0; pass < 3; ++pass) {
    const auto start = Clock::now();
    pool_.parallel_for(pieces(count, step), [&](int64_t i) {
      const Range r = piece(i, step, count);
      total += sum(buffer_.data() + r.begin, r.end - r.begin);
    });
    best = std::max(best, static_cast<double>(buffer_.bytes()) / microseconds_since(start) * 1e6);
  }
  AWQ_ASSERT(total == 0);  // also keeps the sums from being optimized away
  slowest_ = std::min(slowest_, best);
  quickest_ = std::max(quickest_, best);
  return best;
}

std::vector<double> time_calls(int copies, double seconds, int min_calls, const std::function<void(int copy)>& launch) {
  std::vector<double> us;
  launch(copies - 1);  // warm-up: code, scratch memory, the threads
  const auto start = Clock::now();
  for (int call = 0; call < min_calls || microseconds_since(start) < seconds * 1e6; ++call) {
    const auto begin = Clock::now();
    launch(call % copies);
    us.push_back(microseconds_since(begin));
  }
  std::sort(us.begin(), us.end());
  return us;
}

// A thread of its own: OpenMP's team belongs to the thread that starts it and goes, spinning and all, when that ends.
void with_onednn_threads(int threads, const std::function<void()>& body) {
  std::exception_ptr error;
  std::thread([&] {
    omp_set_num_threads(threads);
    try {
      body();
    } catch (...) {
      error = std::current_exception();
    }
  }).join();
  if (error) std::rethrow_exception(error);
}

void onednn_matmul(MatrixView<const float> x, MatrixView<const float> w, MatrixView<float> y) {
  const dnnl_status_t status =
      dnnl_sgemm('N', 'T', x.rows, w.rows, x.cols, 1.f, x.data, x.stride, w.data, w.stride, 0.f, y.data, y.stride);
  AWQ_ASSERT(status == dnnl_success);
}

}  // namespace awq::bench
