#include "cli/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "awq/error.h"

namespace awq::cli {
namespace {

// Process-wide because the two streams are.
int g_stdout_errno = 0;
bool g_quiet = false;
bool g_status_drawn = false;

bool environment_says(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

bool colours() {
  const char* term = std::getenv("TERM");
  const bool dumb = term == nullptr || std::strcmp(term, "dumb") == 0;
  return !environment_says("NO_COLOR") && (environment_says("CLICOLOR_FORCE") || (stderr_is_terminal() && !dumb));
}

void labelled(const char* colour, const char* label, std::string_view text) {
  draw_status("");
  const bool paint = colours();
  const std::string line = fmt::format("{}{}:{} {}\n", paint ? colour : "", label, paint ? "\033[0m" : "", text);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace

void answer(std::string_view text) {
  if (g_stdout_errno != 0) return;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    g_stdout_errno = errno;
}

void finish_answer() {
  if (g_stdout_errno == 0 || reader_is_gone()) return;
  throw Error(ErrorKind::kNoRoom,
              fmt::format("cannot write the answer to standard output: {}; free some space or write elsewhere",
                          std::strerror(g_stdout_errno)));
}

bool reader_is_gone() { return g_stdout_errno == EPIPE; }

void set_quiet(bool quiet) { g_quiet = quiet; }

void note(std::string_view line) {
  if (g_quiet) return;
  draw_status("");
  const std::string text = fmt::format("{}\n", line);
  std::fwrite(text.data(), 1, text.size(), stderr);
}

void warn(std::string_view line) { labelled("\033[33m", "warning", line); }
void show_error(std::string_view text) { labelled("\033[31m", "error", text); }

bool stderr_is_terminal() { return isatty(STDERR_FILENO) != 0; }

int terminal_columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 100;
  return size.ws_col;
}

void draw_status(std::string_view text) {
  if (text.empty() && !g_status_drawn) return;
  const auto room = static_cast<size_t>(std::max(terminal_columns() - 1, 0));
  const std::string line = fmt::format("\r\033[K{}", text.substr(0, room));
  std::fwrite(line.data(), 1, line.size(), stderr);
  g_status_drawn = !text.empty();
}

}  // namespace awq::cli
