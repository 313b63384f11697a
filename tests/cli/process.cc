#include "cli/process.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace awq::test {
namespace {

namespace fs = std::filesystem;

std::string slurp(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

struct Streams {  // a private folder for the three streams
  fs::path folder;
  Streams() {
    std::string pattern = (fs::temp_directory_path() / "awq-cli-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    folder = pattern;
  }
  ~Streams() { fs::remove_all(folder); }
};

void redirect(const fs::path& path, int flags, int fd) {
  const int opened = open(path.c_str(), flags, 0644);
  if (opened < 0 || dup2(opened, fd) < 0) _exit(126);
  close(opened);
}

[[noreturn]] void become_awq(const std::vector<std::string>& words, const RunOptions& options, const Streams& streams) {
  redirect(options.input.empty() ? fs::path("/dev/null") : streams.folder / "in", O_RDONLY, STDIN_FILENO);
  redirect(options.out_file.empty() ? streams.folder / "out" : fs::path(options.out_file), O_WRONLY | O_CREAT,
           STDOUT_FILENO);
  if (options.reader_is_gone) {
    int ends[2];
    if (pipe(ends) != 0 || dup2(ends[1], STDOUT_FILENO) < 0) _exit(126);
    close(ends[0]);
    close(ends[1]);
  }
  redirect(streams.folder / "err", O_WRONLY | O_CREAT | O_APPEND, STDERR_FILENO);
  if (options.max_file_bytes > 0) {
    const rlimit limit{options.max_file_bytes, options.max_file_bytes};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  // Opened while we still may: nobody may not look into the folders above the build, /root for one.
  const int program = open(AWQ_CLI, O_RDONLY | O_CLOEXEC);
  if (options.as_nobody && geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(126);
  for (const std::string& variable : options.environment) putenv(const_cast<char*>(variable.c_str()));
  std::vector<char*> argv = {const_cast<char*>(AWQ_CLI)};
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  fexecve(program, argv.data(), environ);
  _exit(127);
}

// Waits for the text to appear on standard error or for the process to end, whichever is first.
void send_when_seen(pid_t child, const RunOptions& options, const Streams& streams) {
  while (slurp(streams.folder / "err").find(options.signal_when) == std::string::npos) {
    siginfo_t info{};
    waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT);
    if (info.si_pid != 0) return;
    usleep(2000);
  }
  kill(child, options.signal);
}

}  // namespace

Result awq_run(const std::vector<std::string>& words, const RunOptions& options) {
  const Streams streams;
  if (!options.input.empty()) std::ofstream(streams.folder / "in", std::ios::binary) << options.input;
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) become_awq(words, options, streams);
  if (options.signal != 0) send_when_seen(child, options, streams);
  int status = 0;
  waitpid(child, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), slurp(streams.folder / "out"),
          slurp(streams.folder / "err")};
}

}  // namespace awq::test
