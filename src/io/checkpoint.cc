#include "io/checkpoint.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <set>

// XXH3 from the header alone: nothing to link.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "awq/error.h"
#include "core/checked.h"
#include "io/convert.h"
#include "io/escape.h"
#include "io/json.h"

namespace awq::io {
namespace fs = std::filesystem;
namespace {

constexpr const char* kConfig = "config.json";
constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr uint64_t kMaxConfig = uint64_t{16} << 20, kMaxIndex = uint64_t{256} << 20;
constexpr size_t kListed = 8;               // names in a message; the count follows
constexpr size_t kChunk = size_t{1} << 18;  // raw bytes per read when converting: stays in the L2 cache

std::string listing(const std::vector<std::string>& names) {
  std::vector<std::string> shown;
  for (size_t i = 0; i < std::min(names.size(), kListed); ++i) shown.push_back(printable(names[i]));
  return fmt::format("{}{}", fmt::join(shown, ", "),
                     names.size() > kListed ? fmt::format(" ... ({} in all)", names.size()) : "");
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

bool is_below(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

std::vector<std::string> files_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().native());
  if (error)
    throw Error(ErrorKind::kBadInput,
                fmt::format("cannot list the folder {}: {}", printable(folder.native()), error.message()));
  std::sort(names.begin(), names.end());
  return names;
}

// Why a folder without model.safetensors and index cannot be used.
[[noreturn]] void no_weights(const fs::path& folder) {
  std::vector<std::string> pickles, ggufs, shards;
  for (const std::string& name : files_in(folder)) {
    const std::string extension = fs::path(name).extension();
    if (extension == ".bin" || extension == ".pt" || extension == ".pth" || extension == ".ckpt")
      pickles.push_back(name);
    if (extension == ".gguf") ggufs.push_back(name);
    if (extension == ".safetensors") shards.push_back(name);
  }
  std::string why = fmt::format("holds neither {} nor {}", kSingle, kIndex);
  if (!shards.empty())
    why += fmt::format(", only {}: the index is missing, download it again", listing(shards));
  else if (!pickles.empty())
    why += fmt::format(
        ", only {}: pickle files can run code and are not read; convert them with "
        "AutoModelForCausalLM.from_pretrained(...).save_pretrained(..., safe_serialization=True)",
        listing(pickles));
  else if (!ggufs.empty())
    why += fmt::format(", only {}: GGUF files are not read; give the original Hugging Face checkpoint", listing(ggufs));
  throw Error(ErrorKind::kBadInput, fmt::format("{} {}", printable(folder.native()), why));
}

using WeightMap = std::map<std::string, std::string>;  // tensor -> shard

WeightMap read_index(const fs::path& folder, std::optional<double>& total_size) {
  const fs::path path = member_path(folder, kIndex);
  const std::string what = printable(path.native());
  const Json index = Json::parse(read_file(path, kMaxIndex), what);
  const Json* map = index.find("weight_map");
  if (!map || !map->object() || map->object()->empty())
    throw Error(ErrorKind::kBadInput, what + " has no weight_map that names the shard of each tensor");
  if (const Json* metadata = index.find("metadata"))
    if (const Json* total = metadata->find("total_size")) total_size = total->number();
  WeightMap shards;
  for (const auto& [tensor, shard] : *map->object()) {
    const std::string* file = shard.string();
    if (!file || !is_plain_name(*file) || !file->ends_with(".safetensors"))
      throw Error(ErrorKind::kBadInput,
                  fmt::format("{} puts tensor {} into {}; a shard must be a plain file name that ends in .safetensors",
                              what, printable(tensor), file ? printable(*file) : "something that is not a name"));
    shards.emplace(tensor, *file);
  }
  return shards;
}

void refuse_missing_shards(const fs::path& folder, const std::vector<std::string>& files) {
  std::vector<std::string> missing;
  std::error_code ignored;
  for (const std::string& file : files)
    if (!fs::exists(fs::symlink_status(folder / file, ignored))) missing.push_back(file);
  if (!missing.empty())
    throw Error(ErrorKind::kBadInput,
                fmt::format("{} of {} shards are missing in {}: {}; download the model again", missing.size(),
                            files.size(), printable(folder.native()), listing(missing)));
}

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

}  // namespace

fs::path member_path(const fs::path& folder, std::string_view name) {
  const fs::path path = folder / name;
  if (!is_plain_name(name)) throw Error(ErrorKind::kBadInput, printable(name) + " is not a plain file name");
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (!fs::exists(status))
    throw Error(ErrorKind::kBadInput, fmt::format("{} has no {}", printable(folder.native()), name));
  if (!fs::is_symlink(status)) return path;
  const fs::path target = fs::canonical(path, error);
  if (error)
    throw Error(ErrorKind::kBadInput,
                fmt::format("{} is a symlink that leads nowhere: {}", printable(path.native()), error.message()));
  const fs::path home = fs::canonical(folder, error);
  const bool in_cache =
      home.parent_path().filename() == "snapshots" && is_below(target, home.parent_path().parent_path() / "blobs");
  if (in_cache || is_below(target, home)) return path;
  throw Error(ErrorKind::kBadInput, fmt::format("{} is a symlink to {}, outside of the checkpoint; copy the file there",
                                                printable(path.native()), printable(target.native())));
}

Checkpoint::Checkpoint(const fs::path& folder) : folder_(folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder_, ignored))
    throw Error(ErrorKind::kBadInput, printable(folder_.native()) + " is not a folder");
  const bool single = fs::exists(fs::symlink_status(folder_ / kSingle, ignored));
  const bool indexed = fs::exists(fs::symlink_status(folder_ / kIndex, ignored));
  if (!single && !indexed) no_weights(folder_);
  config_text_ = read_file(member_path(folder_, kConfig), kMaxConfig);
  if (!indexed) {
    open_shard(kSingle);
    note_unlisted({kSingle});
    return;
  }
  open_indexed();
  if (single) warnings_.push_back(fmt::format("both {} and {} are present; the index is used", kIndex, kSingle));
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
  std::optional<double> total_size;
  const WeightMap weight_map = read_index(folder_, total_size);
  std::set<std::string> unique;
  for (const auto& [tensor, shard] : weight_map) unique.insert(shard);
  const std::vector<std::string> shards(unique.begin(), unique.end());
  refuse_missing_shards(folder_, shards);
  for (const std::string& shard : shards) open_shard(shard);
  std::vector<std::string> absent;
  for (const auto& [tensor, shard] : weight_map) {
    const auto at = tensors_.find(tensor);
    if (at == tensors_.end() || shards[at->second.file] != shard) absent.push_back(tensor + " of " + shard);
  }
  if (!absent.empty())
    throw Error(ErrorKind::kBadInput, fmt::format("{} in {} names tensors that its shards do not hold: {}", kIndex,
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
    if (name.ends_with(".safetensors") && name != kSingle && !name.starts_with("awq_") &&
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

void Checkpoint::read_f32(std::string_view name, int64_t first_row, int64_t rows, std::span<float> out) const {
  const auto& [file, t] = at(name);
  refuse_other_than_float(*t);
  const uint64_t width = row_elements(*t), total = rows_of(*t);
  AWQ_ASSERT(first_row >= 0 && rows >= 0 && static_cast<uint64_t>(first_row) <= total &&
             static_cast<uint64_t>(rows) <= total - static_cast<uint64_t>(first_row));
  AWQ_ASSERT(out.size() == static_cast<uint64_t>(rows) * width);
  const size_t each = dtype_bytes(t->dtype);
  uint64_t offset = static_cast<uint64_t>(first_row) * width * each;
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
