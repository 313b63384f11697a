// Calls that last. The work runs on a thread of its own, on which signals are blocked, while Python's thread waits
// without the GIL and looks for signals twenty times a second. Two reasons: Python acts on Ctrl-C only when asked to,
// and oneDNN 2.6's sgemm keeps its stack pointer inside a heap buffer, where a signal handler would write over what
// lies below.
#pragma once
#include <nanobind/nanobind.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

namespace awq::python {

namespace nb = nanobind;

// A thread on which no signal is handled, nor on those that it starts.
std::thread thread_without_signals(std::function<void()> body);

class LongCall {
 public:
  // What the library polls; set when Python wants to stop.
  const std::atomic<int>* stop() const { return &stop_; }

  // From the working thread: has `event` called on Python's thread, with the GIL. What it throws stops the work and
  // comes out of run().
  void tell(std::function<void()> event);

  // `work` on a thread of its own; its result or exception. Called with the GIL, which is free meanwhile.
  template <class Work>
  auto run(Work&& work) {
    std::optional<decltype(work())> result;
    wait_for([&] { result.emplace(work()); });
    return std::move(*result);
  }

 private:
  void wait_for(const std::function<void()>& work);
  std::deque<std::function<void()>> next_events(bool& done);

  std::atomic<int> stop_{0};
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<std::function<void()>> events_;
  bool done_ = false;
};

}  // namespace awq::python
