#include "io/checkpoint.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

// XXH3 from the header alone: nothing to link.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "awq/error.h"
#include "core/checked.h"
#include "io/checkpoint_folder.h"
#include "io/convert.h"
#include "io/escape.h"

namespace awq::io {
namespace fs = std::filesystem;
namespace {

constexpr const char* kConfig = "config.json";
constexpr uint64_t kMaxConfig = uint64_t{16} << 20;
constexpr size_t kChunk = size_t{1} << 18;  // raw bytes per read when converting: stays in the L2 cache

void refuse_other_than_float(const TensorInfo& t) {
  if (t.known && converts_to_f32(t.dtype)) return;
  throw Error(
      ErrorKind::kBadInput,
      fmt::format("tensor {} has dtype {}; F32, F16, BF16 and F64 are read: convert the checkpoint to one of them",
                  printable(t.name), printable(t.dtype_text)));
}

uint64_t rows_of(const TensorInfo& t) { return t.shape.empty() ? 1 : static_cast<uint64_t>(t.shape[0]); }

uint64_t row_elements(const TensorInfo& t) {
  uint64_t elements = 1;
  for (size_t i = 1; i < t.shape.size(); ++i)
    elements = checked_mul(elements, static_cast<uint64_t>(t.shape[i]), "a row");
  return elements;
}

// Bytes before `first_row`; the rows, of so many elements together, are the tensor's.
uint64_t row_offset(const TensorInfo& t, int64_t first_row, int64_t rows, uint64_t elements) {
  const uint64_t width = row_elements(t), total = rows_of(t);
  AWQ_ASSERT(first_row >= 0 && rows >= 0 && static_cast<uint64_t>(first_row) <= total &&
             static_cast<uint64_t>(rows) <= total - static_cast<uint64_t>(first_row));
  AWQ_ASSERT(elements == static_cast<uint64_t>(rows) * width);
  return static_cast<uint64_t>(first_row) * width * dtype_bytes(t.dtype);
}

}  // namespace

Checkpoint::Checkpoint(const fs::path& folder) : folder_(folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder_, ignored))
    throw Error(ErrorKind::kBadInput, printable(folder_.native()) + " is not a folder");
  const bool single = fs::exists(fs::symlink_status(folder_ / kSingleFile, ignored));
  const bool indexed = fs::exists(fs::symlink_status(folder_ / kIndexFile, ignored));
  if (!single && !indexed) refuse_without_weights(folder_);
  config_text_ = read_file(member_path(folder_, kConfig), kMaxConfig);
  if (!indexed) {
    open_shard(kSingleFile);
    note_unlisted({kSingleFile});
    return;
  }
  open_indexed();
  if (single)
    warnings_.push_back(fmt::format("both {} and {} are present; the index is used", kIndexFile, kSingleFile));
}

void Checkpoint::open_shard(const std::string& file_name) {
  files_.push_back(std::make_unique<SafetensorsFile>(member_path(folder_, file_name)));
  for (const TensorInfo& t : files_.back()->header().tensors) {
    const auto [at, fresh] = tensors_.emplace(t.name, Where{files_.size() - 1, &t});
    if (!fresh)
      throw Error(ErrorKind::kBadInput,
                  fmt::format("tensor {} is in two shards, {} and {}", printable(t.name),
                              printable(files_[at->second.file]->path().native()), printable(file_name)));
  }
}

void Checkpoint::open_indexed() {
  const ShardIndex index = read_shard_index(folder_);
  const auto& [weight_map, shards, total_size] = index;
  for (const std::string& shard : shards) open_shard(shard);
  std::vector<std::string> absent;
  for (const auto& [tensor, shard] : weight_map) {
    const auto at = tensors_.find(tensor);
    if (at == tensors_.end() || shards[at->second.file] != shard) absent.push_back(tensor + " of " + shard);
  }
  if (!absent.empty())
    throw Error(ErrorKind::kBadInput, fmt::format("{} in {} names tensors that its shards do not hold: {}", kIndexFile,
                                                  printable(folder_.native()), listing(absent)));
  if (tensors_.size() > weight_map.size())
    warnings_.push_back(
        fmt::format("the shards hold {} tensors that the index does not name", tensors_.size() - weight_map.size()));
  if (total_size && *total_size != static_cast<double>(total_bytes()))
    warnings_.push_back(
        fmt::format("the index says total_size {:.0f}, the tensors have {} bytes", *total_size, total_bytes()));
  note_unlisted(shards);
}

// Files called awq_* are ours and are meant to be unlisted (format/salient.h).
void Checkpoint::note_unlisted(const std::vector<std::string>& listed) {
  for (const std::string& name : files_in(folder_))
    if (name.ends_with(".safetensors") && name != kSingleFile && !name.starts_with("awq_") &&
        std::find(listed.begin(), listed.end(), name) == listed.end())
      warnings_.push_back(fmt::format("{} belongs to no index and is not read", printable(name)));
}

const Checkpoint::Where& Checkpoint::at(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end())
    throw Error(ErrorKind::kBadInput,
                fmt::format("{} holds no tensor {}", printable(folder_.native()), printable(name)));
  return found->second;
}

const TensorInfo& Checkpoint::info(std::string_view name) const { return *at(name).info; }

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> names;
  for (const auto& [name, where] : tensors_) names.push_back(name);
  return names;
}

std::vector<std::string> Checkpoint::names_in_file_order() const {
  std::vector<std::string> names;
  for (const auto& file : files_)
    for (const TensorInfo& t : file->header().tensors) names.push_back(t.name);
  return names;
}

uint64_t Checkpoint::total_bytes() const {
  uint64_t total = 0;
  for (const auto& [name, where] : tensors_) total = checked_add(total, where.info->bytes(), "the checkpoint's size");
  return total;
}

void Checkpoint::read_bytes(std::string_view name, std::span<std::byte> out) const {
  const Where& where = at(name);
  AWQ_ASSERT(out.size() == where.info->bytes());
  files_[where.file]->read(*where.info, 0, out);
}

void Checkpoint::read_rows(std::string_view name, int64_t first_row, int64_t rows, std::span<std::byte> out) const {
  const auto& [file, t] = at(name);
  AWQ_ASSERT(t->known && out.size() % dtype_bytes(t->dtype) == 0);
  files_[file]->read(*t, row_offset(*t, first_row, rows, out.size() / dtype_bytes(t->dtype)), out);
}

void Checkpoint::read_f32(std::string_view name, int64_t first_row, int64_t rows, std::span<float> out) const {
  const auto& [file, t] = at(name);
  refuse_other_than_float(*t);
  uint64_t offset = row_offset(*t, first_row, rows, out.size());
  const size_t each = dtype_bytes(t->dtype);
  if (t->dtype == Dtype::kF32) return files_[file]->read(*t, offset, std::as_writable_bytes(out));
  std::vector<std::byte> raw(std::min(kChunk, out.size() * each));
  for (std::span<float> left = out; !left.empty();) {
    const std::span<float> now = left.first(std::min(left.size(), raw.size() / each));
    const auto bytes = std::span(raw).first(now.size() * each);
    files_[file]->read(*t, offset, bytes);
    convert_to_f32(t->dtype, bytes.data(), now);
    offset += bytes.size();
    left = left.subspan(now.size());
  }
}

std::vector<float> Checkpoint::read_f32(std::string_view name) const {
  const TensorInfo& t = info(name);
  refuse_other_than_float(t);  // before its shape, which is checked only for known types, becomes an allocation
  const uint64_t rows = rows_of(t);
  std::vector<float> out(checked_mul(rows, row_elements(t), "the tensor's size"));
  read_f32(name, 0, static_cast<int64_t>(rows), out);
  return out;
}

std::string Checkpoint::fingerprint() const {
  std::string text = config_text_;
  for (const auto& [name, where] : tensors_)
    text += fmt::format("\n{}\x1f{}\x1f{}\x1f{}", name, where.info->dtype_text, fmt::join(where.info->shape, ","),
                        where.info->bytes());
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace awq::io
