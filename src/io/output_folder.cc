#include "io/output_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>

#include "awq/error.h"
#include "io/file.h"

namespace awq::io {
namespace {

namespace fs = std::filesystem;

struct Identity {
  dev_t device;
  ino_t inode;
  bool operator==(const Identity&) const = default;
};

std::optional<Identity> identity(const fs::path& p) {
  struct stat st;
  if (::stat(p.c_str(), &st) != 0) return std::nullopt;
  return Identity{st.st_dev, st.st_ino};
}

[[noreturn]] void fail(const fs::path& p, const char* doing, int error) {
  const bool full = error == ENOSPC || error == EDQUOT;
  throw Error(full ? ErrorKind::kNoRoom : ErrorKind::kFailure,
              fmt::format("{}: {}: {}", p.string(), doing, std::strerror(error)));
}

// Symbolic links resolved as far as the path exists, so that its parent is the folder the rename happens in.
fs::path resolved(const fs::path& p) {
  std::error_code error;
  fs::path real = fs::weakly_canonical(p.is_absolute() ? p : fs::current_path(error) / p, error);
  if (error) throw Error(ErrorKind::kUsage, fmt::format("output {}: {}", p.string(), error.message()));
  if (real.filename().empty()) real = real.parent_path();  // "out/"
  if (real.filename().empty())
    throw Error(ErrorKind::kUsage, fmt::format("output {}: name a folder to create", p.string()));
  return real;
}

// Bind mounts give one folder two paths, hence the walk over identities instead of a comparison of names.
bool at_or_above(const fs::path& upper, fs::path lower) {
  const auto wanted = identity(upper);
  if (!wanted) return false;
  for (;; lower = lower.parent_path()) {
    if (identity(lower) == wanted) return true;
    if (lower == lower.parent_path()) return false;
  }
}

void refuse_overlap(const fs::path& output, const fs::path& input) {
  if (input.empty()) return;
  const fs::path source = resolved(input);
  if (at_or_above(source, output))
    throw Error(ErrorKind::kUsage,
                fmt::format("output {} is the input folder or lies inside it: choose a folder outside {}",
                            output.string(), source.string()));
  if (at_or_above(output, source))
    throw Error(ErrorKind::kUsage, fmt::format("input {} lies inside output {}: choose another output folder",
                                               source.string(), output.string()));
}

void refuse_existing(const fs::path& output, bool force) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(output, error);
  if (status.type() == fs::file_type::not_found) return;
  if (error) fail(output, "cannot be examined", error.value());
  if (status.type() != fs::file_type::directory)
    throw Error(ErrorKind::kExists,
                fmt::format("output {} exists and is not a folder: choose another name", output.string()));
  const bool empty = fs::is_empty(output, error);
  if (error) fail(output, "cannot be read", error.value());
  if (empty) return;
  if (!fs::exists(output / "config.json", error))  // --force must not be able to take a home folder away
    throw Error(ErrorKind::kExists,
                fmt::format("output {} exists, is not empty and is not a checkpoint (no config.json): "
                            "choose another name",
                            output.string()));
  if (!force)
    throw Error(ErrorKind::kExists,
                fmt::format("output {} exists: choose another name, or replace it with --force", output.string()));
}

void check_parent(const fs::path& output) {
  const fs::path parent = output.parent_path();
  std::error_code error;
  if (!fs::is_directory(parent, error))
    throw Error(ErrorKind::kUsage,
                fmt::format("output {}: folder {} does not exist: create it first", output.string(), parent.string()));
  if (::faccessat(AT_FDCWD, parent.c_str(), W_OK | X_OK, AT_EACCESS) != 0)
    fail(parent, "the output cannot be created in this folder", errno);
}

void check(const fs::path& output, const fs::path& input, bool force) {
  refuse_overlap(output, input);
  refuse_existing(output, force);
  check_parent(output);
}

int open_folder(const fs::path& p) { return ::open(p.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); }

// The lock ends with its process, whatever ended that; a process id would say nothing across containers, where the
// same numbers come again and a living one may not be visible.
void remove_if_abandoned(const fs::path& partial) {
  const int fd = open_folder(partial);
  if (fd < 0) return;
  std::error_code ignored;  // what stays is in nobody's way but the disk's
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) fs::remove_all(partial, ignored);
  ::close(fd);
}

void remove_abandoned(const fs::path& output) {
  const std::string prefix = fmt::format(".{}.partial-", output.filename().string());
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(output.parent_path(), ignored))
    if (entry.path().filename().string().starts_with(prefix)) remove_if_abandoned(entry.path());
}

void sync_content(const fs::path& folder) {
  std::error_code failed;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder, failed)) {
    std::error_code ignored;
    if (entry.is_symlink(ignored)) continue;
    const int fd = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail(entry.path(), "cannot be opened", errno);
    const int error = ::fsync(fd) == 0 ? 0 : errno;
    ::close(fd);
    if (error != 0) fail(entry.path(), "cannot be written to disk", error);
  }
  if (failed) fail(folder, "cannot be read", failed.value());
  sync_folder(folder);
}

// For file systems without exchange: there is a moment without the final name, but never one with half a folder.
void replace_in_two_steps(const fs::path& partial, const fs::path& output) {
  const fs::path old = output.parent_path() / fmt::format(".{}.replaced-{}", output.filename().string(), ::getpid());
  if (std::rename(output.c_str(), old.c_str()) != 0) fail(output, "cannot be moved away", errno);
  if (std::rename(partial.c_str(), output.c_str()) != 0) {
    const int error = errno;
    std::rename(old.c_str(), output.c_str());
    fail(output, "cannot be replaced", error);
  }
  std::error_code ignored;
  fs::remove_all(old, ignored);
}

void replace(const fs::path& partial, const fs::path& output) {
  if (::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, output.c_str(), RENAME_EXCHANGE) == 0) {
    std::error_code ignored;  // the old folder, now under the partial name
    fs::remove_all(partial, ignored);
  } else if (errno == EINVAL || errno == ENOSYS) {
    replace_in_two_steps(partial, output);
  } else {
    fail(output, "cannot be replaced", errno);
  }
}

}  // namespace

void check_output_folder(const fs::path& final_path, const fs::path& input, bool force) {
  check(resolved(final_path), input, force);
}

OutputFolder::OutputFolder(const fs::path& final_path, const fs::path& input, bool force)
    : final_(resolved(final_path)), force_(force) {
  check(final_, input, force);
  remove_abandoned(final_);
  partial_ = final_.parent_path() / fmt::format(".{}.partial-{}", final_.filename().string(), ::getpid());
  if (::mkdir(partial_.c_str(), 0777) != 0) {
    if (errno == EEXIST)
      throw Error(ErrorKind::kExists,
                  fmt::format("{} exists: another run is writing {}", partial_.string(), final_.string()));
    fail(partial_, "cannot be created", errno);
  }
  lock_ = open_folder(partial_);
  if (lock_ >= 0)
    ::flock(lock_, LOCK_EX | LOCK_NB);  // refused by some network file systems; then nothing is cleaned up
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(partial_, ignored);
  if (lock_ >= 0) ::close(lock_);
}

void OutputFolder::commit() {
  sync_content(partial_);
  refuse_existing(final_, force_);  // again: hours may have passed
  std::error_code absent;
  if (fs::exists(final_, absent) && !fs::is_empty(final_, absent)) {
    replace(partial_, final_);
  } else if (std::rename(partial_.c_str(), final_.c_str()) != 0) {  // replaces an empty folder, fails on a filled one
    fail(final_, "cannot be created by renaming the finished folder", errno);
  }
  committed_ = true;
  sync_folder(final_.parent_path());
}

}  // namespace awq::io
