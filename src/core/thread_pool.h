// A fixed set of threads and one verb: run body(0) .. body(tasks-1). Which thread runs a task is not fixed, what a task
// computes is; callers cut work by shape, never by the number of threads, so results do not depend on that number.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace awq {

// A borrowed callable: two words, no allocation (std::function would allocate for most lambdas, in every token step).
class TaskRef {
 public:
  template <class Body>
  requires(!std::is_same_v<std::remove_cvref_t<Body>, TaskRef>)
      TaskRef(Body&& body)  // NOLINT(google-explicit-constructor): a parameter type, lambdas go in as they are
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(body)))),
        call_([](void* object, int64_t i) { (*static_cast<std::remove_reference_t<Body>*>(object))(i); }) {}
  void operator()(int64_t i) const { call_(object_, i); }

 private:
  void* object_;
  void (*call_)(void*, int64_t);
};

class ThreadPool {
 public:
  explicit ThreadPool(int threads = 0);  // 0 = the cores this process may use
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const noexcept { return static_cast<int>(workers_.size()) + 1; }  // the caller works too

  // Returns when all tasks are done; the first exception thrown by a task is thrown again here, the tasks that have
  // not begun are then skipped. One parallel_for at a time; a task must not call parallel_for of the same pool.
  void parallel_for(int64_t tasks, TaskRef body);

 private:
  void worker();
  void drain(const TaskRef& body, int64_t tasks);
  bool enter();
  void leave();

  std::vector<std::thread> workers_;
  // Set by the caller while nobody is inside, read by those who have entered.
  const TaskRef* body_ = nullptr;
  int64_t tasks_ = 0;
  std::atomic<bool> quit_{false};
  // On lines of their own: they change while others spin on them.
  alignas(64) std::atomic<uint32_t> round_{0};  // a new value: there is something to do
  alignas(64) std::atomic<uint32_t> gate_{0};   // workers inside, plus kOpen while more may enter
  alignas(64) std::atomic<int64_t> next_{0};    // first task that nobody has taken
  std::mutex mutex_;                            // guards error_
  std::exception_ptr error_;
};

// Cores this process may run on (affinity and cgroup quota taken into account), at least 1.
int available_cores();

// [begin, end) of piece `i` when `total` items are cut into pieces of `step`.
struct Range {
  int64_t begin, end;
};
inline Range piece(int64_t i, int64_t step, int64_t total) {
  return {i * step, (i + 1) * step < total ? (i + 1) * step : total};
}
inline int64_t pieces(int64_t total, int64_t step) { return (total + step - 1) / step; }

}  // namespace awq
