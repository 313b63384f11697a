#include "quant/shard_files.h"

#include <algorithm>

#include "core/checked.h"
#include "core/hash.h"

namespace awq::quant {

namespace fs = std::filesystem;

ShardFiles::ShardFiles(const fs::path& folder, std::vector<io::Shard> shards) : shards_(std::move(shards)) {
  fs::create_directories(folder);
  for (const io::Shard& shard : shards_) {
    const std::string prefix = io::safetensors_prefix(shard.tensors);
    uint64_t size = prefix.size();
    for (const io::TensorSpec& t : shard.tensors) size = checked_add(size, t.bytes(), "the file's size");
    files_.push_back(std::make_unique<io::PlacedFile>(folder / shard.file, size));
    files_.back()->write_at(0, std::as_bytes(std::span(prefix)));
    uint64_t begin = prefix.size();
    for (const io::TensorSpec& t : shard.tensors) {
      places_.emplace(t.name, Place{files_.back().get(), begin, t.bytes()});
      begin += t.bytes();
    }
  }
}

const ShardFiles::Place& ShardFiles::place(std::string_view tensor) const {
  const auto found = places_.find(tensor);
  AWQ_ASSERT(found != places_.end());
  return found->second;
}

void ShardFiles::write(std::string_view tensor, uint64_t offset, std::span<const std::byte> data) {
  const Place& to = place(tensor);
  AWQ_ASSERT(offset <= to.bytes && data.size() <= to.bytes - offset);
  to.file->write_at(to.begin + offset, data);
}

void ShardFiles::write(std::string_view tensor, std::span<const std::byte> whole) {
  AWQ_ASSERT(whole.size() == place(tensor).bytes);
  write(tensor, 0, whole);
}

std::string ShardFiles::hash(std::string_view prefix) const {
  std::vector<std::byte> buffer(1 << 20);
  Hasher hasher;
  for (auto at = places_.lower_bound(prefix); at != places_.end() && at->first.starts_with(prefix); ++at) {
    const Place& from = at->second;
    for (uint64_t offset = 0; offset < from.bytes; offset += buffer.size()) {
      const auto part = std::span(buffer).first(std::min<uint64_t>(buffer.size(), from.bytes - offset));
      from.file->read_at(from.begin + offset, part);
      hasher.add(part);
    }
  }
  return hasher.hex();
}

void ShardFiles::sync() {
  for (const auto& file : files_) file->sync();
}

void ShardFiles::place_into(const fs::path& folder) const {
  for (const auto& file : files_) io::link_or_copy(file->path(), folder / file->path().filename());
}

}  // namespace awq::quant
