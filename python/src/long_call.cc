#include "long_call.h"

#include <csignal>
#include <exception>
#include <utility>

#include "poll.h"

namespace awq::python {

std::thread thread_without_signals(std::function<void()> body) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // a new thread inherits it
  std::thread thread(std::move(body));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

void LongCall::tell(std::function<void()> event) {
  const std::lock_guard lock(mutex_);
  events_.push_back(std::move(event));
  changed_.notify_one();
}

std::deque<std::function<void()>> LongCall::next_events(bool& done) {
  const nb::gil_scoped_release released;
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kPoll, [&] { return done_ || !events_.empty(); });
  done = done_;
  return std::exchange(events_, {});
}

void LongCall::wait_for(const std::function<void()>& work) {
  std::exception_ptr failure, interruption;
  std::thread worker = thread_without_signals([&] {
    try {
      work();
    } catch (...) {
      failure = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    done_ = true;
    changed_.notify_one();
  });
  for (bool done = false; !done;) {
    const std::deque<std::function<void()>> events = next_events(done);
    if (interruption) continue;  // nothing is told any more: wait for the work to see that it is to stop
    try {
      for (const std::function<void()>& event : events) event();
      check_signals();
    } catch (...) {
      interruption = std::current_exception();
      stop_ = SIGINT;
    }
  }
  worker.join();
  if (interruption) std::rethrow_exception(interruption);
  if (failure) std::rethrow_exception(failure);
}

}  // namespace awq::python
