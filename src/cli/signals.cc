#include "cli/signals.h"

#include <unistd.h>

#include <csignal>

namespace awq::cli {
namespace {

std::atomic<int> g_signal{0};  // a signal handler can reach nothing but globals
static_assert(std::atomic<int>::is_always_lock_free, "or the handler could not touch it");

extern "C" void on_stop_signal(int number) {
  if (g_signal.exchange(number) != 0) _exit(128 + number);
}

}  // namespace

void catch_stop_signals() {
  struct sigaction action {};
  action.sa_handler = on_stop_signal;
  action.sa_flags = SA_RESTART;
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction inherited {};
    sigaction(number, nullptr, &inherited);
    if (inherited.sa_handler != SIG_IGN) sigaction(number, &action, nullptr);  // nohup's choice stands
  }
  std::signal(SIGPIPE, SIG_IGN);  // seen as EPIPE by answer(), so that a job outlives the reader of its answer
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit is then EFBIG, reported like a full disk
}

const std::atomic<int>& stop_signal() { return g_signal; }
int exit_code_of_signal() { return 128 + g_signal.load(); }

}  // namespace awq::cli
