#include "io/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "awq/error.h"
#include "io/escape.h"

namespace awq::io {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kLfsMagic = "version https://git-lfs.github.com/spec/";
constexpr size_t kCopyChunk = size_t{1} << 20;

// What the user gave us cannot be read: bad input. An I/O error of the device is not the input's fault.
[[noreturn]] void throw_read(const fs::path& path, int error) {
  const ErrorKind kind = error == EIO ? ErrorKind::kFailure : ErrorKind::kBadInput;
  throw Error(kind, fmt::format("cannot read {}: {}", printable(path.native()), std::strerror(error)));
}

[[noreturn]] void throw_write(const fs::path& path, uint64_t bytes, int error, const char* where = "beyond") {
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  throw Error(full ? ErrorKind::kNoRoom : ErrorKind::kFailure,
              fmt::format("cannot write {}{}: {}{}", printable(path.native()),
                          bytes ? fmt::format(" {} {} bytes", where, bytes) : "", std::strerror(error),
                          full ? "; free some space or choose an output folder on another disk" : ""));
}

void read_all(int fd, const fs::path& path, uint64_t offset, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t got = pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_read(path, errno);
    if (got == 0)
      throw Error(ErrorKind::kBadInput,
                  fmt::format("{} ends at byte {}, {} more were expected; was it changed while it was read?",
                              printable(path.native()), offset, out.size()));
    offset += static_cast<uint64_t>(got);
    out = out.subspan(static_cast<size_t>(got));
  }
}

int open_new_temporary(const fs::path& final_path, fs::path& temp) {
  static std::atomic<unsigned> counter{0};
  for (;;) {
    temp = final_path.parent_path() /
           fmt::format(".{}.{}-{}.tmp", final_path.filename().native(), getpid(), counter.fetch_add(1));
    const int fd = open(temp.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) return fd;
    // EEXIST: left behind by a killed process with our pid; take the next number.
    if (errno != EEXIST && errno != EINTR) throw_write(final_path, 0, errno);
  }
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

bool is_lfs_pointer(std::string_view content) { return content.starts_with(kLfsMagic); }

void refuse_lfs_pointer(std::string_view content, const std::string& what) {
  if (is_lfs_pointer(content))
    throw Error(ErrorKind::kBadInput, what + " is a Git LFS pointer, not the file: run git lfs pull in its folder");
}

// O_NONBLOCK: opening a FIFO must not wait for a writer; on a regular file it means nothing.
File::File(const fs::path& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)), path_(path) {
  if (fd_ < 0) throw_read(path, errno);
  struct stat info {};
  const int error = fstat(fd_, &info) == 0 ? 0 : errno;
  if (error == 0 && S_ISREG(info.st_mode)) {
    size_ = static_cast<uint64_t>(info.st_size);
    return;
  }
  close(fd_);
  if (error != 0) throw_read(path, error);
  throw Error(ErrorKind::kBadInput, printable(path.native()) + " is not a regular file");
}

File::File(File&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), size_(other.size_), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

File::~File() {
  if (fd_ >= 0) close(fd_);
}

void File::read_at(uint64_t offset, std::span<std::byte> out) const { read_all(fd_, path_, offset, out); }

std::string read_file(const fs::path& path, uint64_t max_bytes) {
  const File file(path);
  if (file.size() > max_bytes)
    throw Error(ErrorKind::kBadInput, fmt::format("{} has {} bytes, more than the {} that such a file may have",
                                                  printable(path.native()), file.size(), max_bytes));
  std::string content(file.size(), '\0');
  file.read_at(0, std::as_writable_bytes(std::span(content)));
  refuse_lfs_pointer(content, printable(path.native()));
  return content;
}

AtomicFile::AtomicFile(fs::path final_path) : final_(std::move(final_path)) { fd_ = open_new_temporary(final_, temp_); }

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) close(fd_);
  if (!temp_.empty()) unlink(temp_.c_str());
}

void AtomicFile::write(std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t put = ::write(fd_, data.data(), data.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw_write(final_, written_, errno);
    written_ += static_cast<uint64_t>(put);
    data = data.subspan(static_cast<size_t>(put));
  }
}

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

void AtomicFile::commit() {
  if (fsync(fd_) != 0) throw_write(final_, written_, errno);
  if (close(std::exchange(fd_, -1)) != 0) throw_write(final_, written_, errno);
  if (rename(temp_.c_str(), final_.c_str()) != 0) throw_write(final_, 0, errno);
  temp_.clear();
  sync_folder(final_.has_parent_path() ? final_.parent_path() : fs::path("."));
}

PlacedFile::PlacedFile(fs::path path, uint64_t size)
    : fd_(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)), path_(std::move(path)) {
  if (fd_ >= 0 && ftruncate(fd_, static_cast<off_t>(size)) == 0) return;
  const int error = errno;
  if (fd_ >= 0) close(fd_);
  throw_write(path_, size, error, "of");
}

PlacedFile::~PlacedFile() { close(fd_); }

void PlacedFile::read_at(uint64_t offset, std::span<std::byte> out) const { read_all(fd_, path_, offset, out); }

void PlacedFile::write_at(uint64_t offset, std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t put = pwrite(fd_, data.data(), data.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw_write(path_, offset, errno);
    offset += static_cast<uint64_t>(put);
    data = data.subspan(static_cast<size_t>(put));
  }
}

void PlacedFile::sync() {
  if (fdatasync(fd_) != 0) throw_write(path_, 0, errno);
}

void link_or_copy(const fs::path& from, const fs::path& to) {
  if (link(from.c_str(), to.c_str()) != 0) io::copy_file(from, to);
}

void write_file(const fs::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

void copy_file(const fs::path& from, const fs::path& to) {
  const File source(from);
  AtomicFile target(to);
  std::vector<std::byte> chunk(std::min<uint64_t>(source.size(), kCopyChunk));
  for (uint64_t at = 0; at < source.size();) {
    const auto piece = std::span(chunk).first(std::min<uint64_t>(chunk.size(), source.size() - at));
    source.read_at(at, piece);
    if (at == 0) refuse_lfs_pointer(as_text(piece), printable(from.native()));
    target.write(piece);
    at += piece.size();
  }
  target.commit();
}

void sync_folder(const fs::path& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw_write(folder, 0, errno);
  const int error = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  // Some network file systems cannot sync a folder and say EINVAL; there is nothing better to do there.
  if (error != 0 && error != EINVAL && error != ENOTSUP) throw_write(folder, 0, error);
}

uint64_t free_disk_bytes(const fs::path& existing_folder) {
  struct statvfs info {};
  if (statvfs(existing_folder.c_str(), &info) != 0) throw_read(existing_folder, errno);
  return uint64_t{info.f_bavail} * info.f_frsize;
}

}  // namespace awq::io
