// The work folder of a run: finished blocks and the settings they belong to, so that a stopped run goes on where it
// was.
//
//   job.json                    settings and data of the run; --resume refuses another
//   LOCK                        held with flock() while a run is alive; the kernel lets go of it whatever kills the run
//   shards/                     the weights files of the output, at their final size (shard_files.h)
//   blocks/00003.json           reports of block 3 and the hash of its tensors; written last: the block is finished
//   when it
//                               is there
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "awq/quantize.h"
#include "format/registry.h"
#include "io/safetensors.h"
#include "quant/block.h"
#include "quant/shard_files.h"

namespace awq::quant {

// An exclusive flock() on a file, let go by the destructor or by the end of the process.
class FileLock {
 public:
  // Error(kExists) naming the process that holds it.
  FileLock(const std::filesystem::path& file, const std::filesystem::path& folder);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int fd_ = -1;
};

class WorkFolder {
 public:
  // `settings`: flat JSON object. Error(kExists) when a stopped run with finished blocks is there and neither resume
  // nor force is given, or when another run holds the lock; Error(kUsage) listing the differing keys when resuming with
  // other settings.
  WorkFolder(std::filesystem::path, const std::string& settings, std::vector<io::Shard>, bool resume, bool force);

  // Reports of a finished block; nullopt when it must be (re)done, for example because its tensors do not hash as
  // recorded.
  std::optional<std::vector<LinearReport>> finished(int64_t layer) const;
  void store(int64_t layer, const BlockResult&, const format::LayoutRow&);

  ShardFiles& shards() { return *shards_; }
  const ShardFiles& shards() const { return *shards_; }
  void remove();  // after the output is in place
  const std::filesystem::path& path() const { return path_; }

 private:
  void store_linear(const std::string& module, const BlockLinear&, const format::LayoutRow&);
  std::filesystem::path record_path(int64_t layer) const;

  std::filesystem::path path_;
  std::unique_ptr<FileLock> lock_;
  std::unique_ptr<ShardFiles> shards_;
};

}  // namespace awq::quant
