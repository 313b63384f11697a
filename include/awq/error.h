// The one exception type of the library, and the exit code each kind of failure becomes.
#pragma once
#include <exception>
#include <string>
#include <utility>

namespace awq {

// The value is the exit code of the command line.
enum class ErrorKind : int {
  kFailure = 1,       // anything not named below
  kUsage = 2,         // options that contradict each other or make no sense
  kBadInput = 3,      // model, tokenizer, text: invalid or unsupported
  kNoRoom = 4,        // host memory, device memory or disk does not suffice
  kDevice = 5,        // driver or device
  kExists = 6,        // the output exists or is in use
  kCheckFailed = 7,   // a verification ran and said no
  kInterrupted = 130  // SIGINT; the command line turns SIGTERM into 143
};

// what(): one sentence with the cause and the remedy, then a line "  while ..." for each caller that added context.
class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string what, const char* file = __builtin_FILE(), int line = __builtin_LINE())
      : kind_(kind), text_(std::move(what)), file_(file), line_(line) {}

  ErrorKind kind() const noexcept { return kind_; }
  const char* what() const noexcept override { return text_.c_str(); }
  void add_context(const std::string& doing) { text_ += "\n  while " + doing; }
  // Where it was thrown: for bug reports (`--debug`), not for users.
  std::string where() const { return std::string(file_) + ":" + std::to_string(line_); }

 private:
  ErrorKind kind_;
  std::string text_;
  const char* file_;
  int line_;
};

// Runs `body`; an Error on its way out learns what we were doing. `doing` is a lambda: built only on failure.
template <class Doing, class Body>
decltype(auto) with_context(Doing&& doing, Body&& body) {
  try {
    return body();
  } catch (Error& e) {
    e.add_context(doing());
    throw;
  }
}

}  // namespace awq
