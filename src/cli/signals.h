// SIGINT, SIGTERM and SIGHUP ask the job at hand to stop where it can be resumed; a second one ends the process at
// once.
#pragma once
#include <atomic>

namespace awq::cli {

// A write that fails is then an error with a sentence, and not the end of the process.
void ignore_write_signals();

// To be called before the first thread starts, and only by a command that looks at stop_signal(): until then the
// signals end the process as they do by default.
void catch_stop_signals();
const std::atomic<int>& stop_signal();  // 0, or the signal received
int exit_code_of_signal();              // 128 + signal: 130 for SIGINT, 143 for SIGTERM

}  // namespace awq::cli
