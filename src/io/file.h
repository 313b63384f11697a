// Files: positioned reads that cannot fault (no mmap, so a file that shrinks is an error and not a signal), and writes
// that appear under their final name only when they are complete and on disk.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace awq::io {

class File {  // read only; regular files only (a FIFO, device or folder is refused)
 public:
  explicit File(const std::filesystem::path&);
  File(File&&) noexcept;
  File& operator=(File&&) noexcept;
  ~File();
  uint64_t size() const noexcept { return size_; }
  const std::filesystem::path& path() const noexcept { return path_; }
  // Fills all of `out` from `offset`; Error(kBadInput) when the file ends before that. Safe from several threads.
  void read_at(uint64_t offset, std::span<std::byte> out) const;

 private:
  int fd_ = -1;
  uint64_t size_ = 0;
  std::filesystem::path path_;
};

// A clone made without Git LFS holds small text files that point to the real ones; naming that saves a user an hour.
bool is_lfs_pointer(std::string_view content);
void refuse_lfs_pointer(std::string_view content, const std::string& what);  // Error(kBadInput) with the remedy

// The whole file; Error(kBadInput) when it is larger than `max_bytes` or is a Git LFS pointer.
std::string read_file(const std::filesystem::path&, uint64_t max_bytes);

// Streams to a temporary name in the same folder; commit() makes it durable (fsync file, rename, fsync folder).
// Destroyed without commit: the temporary is removed. A full disk is Error(kNoRoom) naming path and bytes.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path final_path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(std::span<const std::byte>);
  void write(std::string_view);
  void commit();

 private:
  std::filesystem::path final_, temp_;
  int fd_ = -1;
  uint64_t written_ = 0;
};

// A file of known size that is written piece by piece in any order, and goes on where a killed process left it.
class PlacedFile {
 public:
  // Creates it, or takes the one that is there as it is; either way it then has `size` bytes.
  PlacedFile(std::filesystem::path, uint64_t size);
  ~PlacedFile();
  PlacedFile(const PlacedFile&) = delete;
  PlacedFile& operator=(const PlacedFile&) = delete;
  const std::filesystem::path& path() const noexcept { return path_; }
  void read_at(uint64_t offset, std::span<std::byte> out) const;
  void write_at(uint64_t offset, std::span<const std::byte>);  // safe from several threads at different places
  void sync();                                                 // what has been written is on disk

 private:
  int fd_ = -1;
  std::filesystem::path path_;
};

// A second name for the file where the file system has that, else a copy.
void link_or_copy(const std::filesystem::path& from, const std::filesystem::path& to);

void write_file(const std::filesystem::path&, std::string_view content);  // AtomicFile in one call
void copy_file(const std::filesystem::path& from, const std::filesystem::path& to);
void sync_folder(const std::filesystem::path&);
uint64_t free_disk_bytes(const std::filesystem::path& existing_folder);

}  // namespace awq::io
