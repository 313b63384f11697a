// The weights files of the output while they grow: made at their final size at once, each tensor written at its place
// as soon as it is known, so that nothing is written twice.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/file.h"
#include "io/safetensors.h"

namespace awq::quant {

class ShardFiles {
 public:
  // Files in `folder`; those that a stopped run has left there are taken over as they are.
  ShardFiles(const std::filesystem::path& folder, std::vector<io::Shard>);

  // The next functions may be called from several threads for different tensors.
  void write(std::string_view tensor, uint64_t offset, std::span<const std::byte>);
  void write(std::string_view tensor, std::span<const std::byte> whole);
  std::string hash(std::string_view prefix) const;  // of all tensors whose names begin so
  void sync();

  const std::vector<io::Shard>& shards() const { return shards_; }
  // Puts the files into another folder, without copying where the file system can.
  void place_into(const std::filesystem::path& folder) const;

 private:
  struct Place {
    io::PlacedFile* file;
    uint64_t begin, bytes;
  };
  const Place& place(std::string_view tensor) const;
  std::vector<io::Shard> shards_;
  std::vector<std::unique_ptr<io::PlacedFile>> files_;
  std::map<std::string, Place, std::less<>> places_;
};

}  // namespace awq::quant
