#include "io/checkpoint_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "awq/error.h"
#include "io/checkpoint.h"
#include "io/escape.h"
#include "io/json.h"

namespace awq::io {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMaxIndex = uint64_t{256} << 20;
constexpr size_t kListed = 8;  // names in a message; the count follows

[[noreturn]] void fail(const std::string& why) { throw Error(ErrorKind::kBadInput, why); }

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

bool is_below(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

void refuse_missing(const fs::path& folder, const std::vector<std::string>& files) {
  std::vector<std::string> missing;
  std::error_code ignored;
  for (const std::string& file : files)
    if (!fs::exists(fs::symlink_status(folder / file, ignored))) missing.push_back(file);
  if (!missing.empty())
    fail(fmt::format("{} of {} shards are missing in {}: {}; {}", missing.size(), files.size(),
                     printable(folder.native()), listing(missing), download_again(folder)));
}

// Weights in other containers; the first row that a folder has files of explains it.
struct OtherContainer {
  std::string_view extensions, remedy;
};
constexpr std::string_view kPickle =
    "pickle files can run code and are not read; convert them with "
    "AutoModelForCausalLM.from_pretrained(...).save_pretrained(..., safe_serialization=True)";
constexpr OtherContainer kOthers[] = {
    {".safetensors", "the index is missing; download it again"},
    {".bin .pt .pth .ckpt", kPickle},
    {".gguf", "GGUF files are not read; give the original Hugging Face checkpoint"},
};

bool lists(std::string_view extensions, const std::string& extension) {
  return !extension.empty() && (" " + std::string(extensions) + " ").find(" " + extension + " ") != std::string::npos;
}

}  // namespace

std::string listing(const std::vector<std::string>& names) {
  std::vector<std::string> shown;
  for (size_t i = 0; i < std::min(names.size(), kListed); ++i) shown.push_back(printable(names[i]));
  return fmt::format("{}{}", fmt::join(shown, ", "),
                     names.size() > kListed ? fmt::format(" ... ({} in all)", names.size()) : "");
}

std::vector<std::string> files_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().native());
  if (error) fail(fmt::format("cannot list the folder {}: {}", printable(folder.native()), error.message()));
  std::sort(names.begin(), names.end());
  return names;
}

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

void refuse_without_weights(const fs::path& folder) {
  const std::string none =
      fmt::format("{} holds neither {} nor {}", printable(folder.native()), kSingleFile, kIndexFile);
  for (const OtherContainer& row : kOthers) {
    std::vector<std::string> found;
    for (const std::string& name : files_in(folder))
      if (lists(row.extensions, fs::path(name).extension())) found.push_back(name);
    if (!found.empty()) fail(fmt::format("{}, only {}: {}", none, listing(found), row.remedy));
  }
  fail(none);
}

std::string download_again(const fs::path& folder) {
  constexpr std::string_view kModels = "models--";
  std::error_code ignored;
  const fs::path snapshot = fs::canonical(folder, ignored);
  std::string repo = snapshot.parent_path().parent_path().filename();
  if (snapshot.parent_path().filename() != "snapshots" || !repo.starts_with(kModels)) return "download it again";
  repo.erase(0, kModels.size());
  if (const size_t dashes = repo.find("--"); dashes != repo.npos) repo.replace(dashes, 2, "/");
  return fmt::format("download it again with: hf download {} --revision {}", repo, snapshot.filename().native());
}

ShardIndex read_shard_index(const fs::path& folder) {
  const fs::path path = member_path(folder, kIndexFile);
  const std::string what = printable(path.native());
  const Json json = Json::parse(read_file(path, kMaxIndex), what);
  const Json* map = json.find("weight_map");
  if (!map || !map->object() || map->object()->empty())
    fail(what + " has no weight_map that names the shard of each tensor");
  ShardIndex index;
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : *map->object()) {
    const std::string* file = shard.string();
    if (!file || !is_plain_name(*file) || !file->ends_with(".safetensors"))
      fail(fmt::format("{} puts tensor {} into {}; a shard must be a plain file name that ends in .safetensors", what,
                       printable(tensor), file ? printable(*file) : "something that is not a name"));
    index.weight_map.emplace(tensor, *file);
    shards.insert(*file);
  }
  index.shards.assign(shards.begin(), shards.end());
  if (const Json* metadata = json.find("metadata"))
    if (const Json* total = metadata->find("total_size")) index.total_size = total->number();
  refuse_missing(folder, index.shards);
  return index;
}

}  // namespace awq::io
