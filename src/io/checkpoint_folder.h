// What lies in a checkpoint folder: the names, the shard index, and why a folder cannot be used.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace awq::io {

inline constexpr const char* kSingleFile = "model.safetensors";
inline constexpr const char* kIndexFile = "model.safetensors.index.json";

std::vector<std::string> files_in(const std::filesystem::path& folder);  // sorted
std::string listing(const std::vector<std::string>& names);              // for a message: the first few, printable

// "download it again", with the command when the folder is a snapshot in the Hugging Face cache.
std::string download_again(const std::filesystem::path& folder);

struct ShardIndex {
  std::map<std::string, std::string> weight_map;  // tensor -> file
  std::vector<std::string> shards;                // the files, sorted; each is a plain name and present
  std::optional<double> total_size;               // as the index claims
};
ShardIndex read_shard_index(const std::filesystem::path& folder);

// Why a folder with neither of the two files above cannot be used: pickles, GGUF, a lost index.
[[noreturn]] void refuse_without_weights(const std::filesystem::path& folder);

}  // namespace awq::io
