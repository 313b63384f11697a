#include "core/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

namespace awq {
namespace {

constexpr uint32_t kOpen = 1u << 31;

// How long a thread looks for work, or for the end of it, before it sleeps. Waking a sleeper takes some 50 us on the
// machines measured, as long as a small layer takes to compute; the gap between two layers of a token step is a few us.
constexpr std::chrono::microseconds kSpin{50};

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Waits until `value` is no longer `old`: a short spin, then the kernel.
void wait_for_change(const std::atomic<uint32_t>& value, uint32_t old) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  while (value.load(std::memory_order_acquire) == old) {
    for (int i = 0; i < 16 && value.load(std::memory_order_relaxed) == old; ++i) pause();
    if (std::chrono::steady_clock::now() < deadline) continue;
    value.wait(old, std::memory_order_acquire);
  }
}

}  // namespace

int available_cores() {
  cpu_set_t set;
  int cores = static_cast<int>(std::thread::hardware_concurrency());
  if (sched_getaffinity(0, sizeof set, &set) == 0) cores = CPU_COUNT(&set);
  std::ifstream quota_file("/sys/fs/cgroup/cpu.max");  // "max 100000" or "150000 100000"
  std::string quota;
  double period = 0;
  if (quota_file >> quota >> period && quota != "max" && period > 0) {
    const double limit = std::strtod(quota.c_str(), nullptr) / period;
    if (limit > 0) cores = std::min(cores, std::max(1, static_cast<int>(limit + 0.5)));
  }
  return std::max(cores, 1);
}

ThreadPool::ThreadPool(int threads) {
  if (threads <= 0) threads = available_cores();
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { worker(); });
  } catch (const std::system_error&) {
    // No more threads to be had (RLIMIT_NPROC): go on with those we have, down to the caller alone.
  }
}

ThreadPool::~ThreadPool() {
  quit_ = true;
  round_.fetch_add(1);
  round_.notify_all();
  for (std::thread& t : workers_) t.join();
}

void ThreadPool::drain(const TaskRef& body, int64_t tasks) {
  for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < tasks;) {
    try {
      body(i);
    } catch (...) {
      std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
      next_ = tasks;
    }
  }
}

// A worker that comes late finds the gate closed: nobody waits for a thread that is still waking up.
bool ThreadPool::enter() {
  uint32_t gate = gate_.load(std::memory_order_relaxed);
  while (gate & kOpen)
    if (gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acquire)) return true;
  return false;
}

void ThreadPool::leave() {
  if (gate_.fetch_sub(1, std::memory_order_acq_rel) == 1) gate_.notify_one();
}

void ThreadPool::worker() {
  for (uint32_t seen = 0;;) {
    wait_for_change(round_, seen);
    if (quit_) return;
    seen = round_.load(std::memory_order_acquire);
    if (!enter()) continue;
    drain(*body_, tasks_);
    leave();
  }
}

void ThreadPool::parallel_for(int64_t tasks, TaskRef body) {
  if (tasks <= 0) return;
  if (workers_.empty() || tasks == 1) {
    for (int64_t i = 0; i < tasks; ++i) body(i);
    return;
  }
  body_ = &body;
  tasks_ = tasks;
  next_.store(0, std::memory_order_relaxed);
  gate_.store(kOpen, std::memory_order_release);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  drain(body, tasks);
  for (uint32_t inside = gate_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen; inside != 0;) {
    wait_for_change(gate_, inside);
    inside = gate_.load(std::memory_order_acquire);
  }
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

}  // namespace awq
