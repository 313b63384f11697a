#include "cli/signals.h"

#include <unistd.h>

#include <csignal>
#include <thread>

namespace awq::cli {
namespace {

std::atomic<int> g_signal{0};  // one process, one set of signals

void wait_for_signals(sigset_t set) {
  for (;;) {
    int number = 0;
    if (sigwait(&set, &number) == 0 && g_signal.exchange(number) != 0) _exit(128 + number);
  }
}

}  // namespace

void ignore_write_signals() {
  std::signal(SIGPIPE, SIG_IGN);  // EPIPE to answer(), so that a job outlives the reader of its answer
  std::signal(SIGXFSZ, SIG_IGN);  // EFBIG, reported like a full disk
}

// A thread that waits, and not a handler: oneDNN 2.6's sgemm runs with the stack pointer inside a heap buffer (where
// 961 of 991 timer signals found it, 128 x 128 x 64), and a handler that runs there overwrites what lies below. One
// interrupted run in ten ended with a corrupted heap.
void catch_stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction inherited {};
    sigaction(number, nullptr, &inherited);
    if (inherited.sa_handler != SIG_IGN) sigaddset(&set, number);  // nohup's choice stands
  }
  pthread_sigmask(SIG_BLOCK, &set, nullptr);  // every later thread inherits it
  std::thread(wait_for_signals, set).detach();
}

const std::atomic<int>& stop_signal() { return g_signal; }
int exit_code_of_signal() { return 128 + g_signal.load(); }

}  // namespace awq::cli
