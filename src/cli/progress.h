// Progress of a long job on standard error: a bar that redraws itself on a terminal, a line a step elsewhere, JSON
// events for schedulers.
#pragma once
#include <chrono>
#include <string>
#include <string_view>

namespace awq::cli {

class Args;

enum class ProgressStyle { kAuto, kTerminal, kPlain, kJson, kNone };

// Adds --progress auto|tty|plain|json|none.
void add_progress_option(Args&, ProgressStyle&);

struct ProgressStep {
  std::string_view stage;   // "search"
  int done = 0, total = 0;  // steps of the whole job; total 0: not known
  double seconds = 0, eta_seconds = -1;
  std::string_view note;
};

class Progress {
 public:
  Progress(ProgressStyle, bool quiet);
  ~Progress();  // erases the bar
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void show(const ProgressStep&);

 private:
  ProgressStyle style_;
  std::chrono::steady_clock::time_point last_draw_{};
  std::string last_mark_;  // plain: "2/6" of the last line, so that a step has one line whatever its stages
};

}  // namespace awq::cli
