// Runs the real `awq` and collects what it says.
#pragma once
#include <csignal>
#include <string>
#include <vector>

namespace awq::test {

struct Result {
  int code = 0;  // exit code, or 128 + signal
  std::string out, err;
};

struct RunOptions {
  std::string input;                     // standard input; empty: /dev/null
  std::vector<std::string> environment;  // "NAME=value", added to the present one; "NAME" unsets
  std::string out_file;                  // standard output goes here instead
  bool reader_is_gone = false;           // standard output is a pipe that nobody reads
  uint64_t max_file_bytes = 0;           // RLIMIT_FSIZE, 0: none
  bool as_nobody = false;                // drop root first, so that permissions count
  int signal = 0;                        // sent once `signal_when` has appeared on standard error
  std::string signal_when;
};

Result awq_run(const std::vector<std::string>& words, const RunOptions& = {});

}  // namespace awq::test
