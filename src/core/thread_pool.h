// A fixed set of threads and one verb: run body(0) .. body(tasks-1). Which thread runs a task is not fixed, what a task
// computes is; callers cut work by shape, never by the number of threads, so results do not depend on that number.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace awq {

class ThreadPool {
 public:
  explicit ThreadPool(int threads = 0);  // 0 = the cores this process may use
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const noexcept { return static_cast<int>(workers_.size()) + 1; }  // the caller works too

  // Returns when all tasks are done; the first exception thrown by a task is thrown again here, the tasks that have
  // not begun are then skipped. One parallel_for at a time; a task must not call parallel_for of the same pool.
  void parallel_for(int64_t tasks, const std::function<void(int64_t)>& body);

 private:
  void worker();
  void drain(const std::function<void(int64_t)>& body, int64_t tasks);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable start_, done_;
  const std::function<void(int64_t)>* body_ = nullptr;
  int64_t tasks_ = 0;
  uint64_t round_ = 0;
  int busy_ = 0;
  bool quit_ = false;
  std::atomic<int64_t> next_{0};
  std::exception_ptr error_;
};

// Cores this process may run on (affinity and cgroup quota taken into account), at least 1.
int available_cores();

// [begin, end) of piece `i` when `total` items are cut into pieces of `step`.
struct Range { int64_t begin, end; };
inline Range piece(int64_t i, int64_t step, int64_t total) {
  return {i * step, (i + 1) * step < total ? (i + 1) * step : total};
}
inline int64_t pieces(int64_t total, int64_t step) { return (total + step - 1) / step; }

}  // namespace awq
