// A Hugging Face checkpoint folder: config.json, one or many safetensors files, tokenizer files. Only headers are read
// on opening; every shard is checked then, so a missing or truncated one is found before any work begins.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/safetensors.h"

namespace awq::io {

// Folder for `model`: an existing folder wins; else org/name[@revision] in the local Hugging Face cache (HF_HUB_CACHE,
// HF_HOME, XDG_CACHE_HOME, ~/.cache). Error(kBadInput) with the exact download command when it is not there.
std::filesystem::path resolve_model(const std::string& model);

// <folder>/<name>, where `name` is a plain file name and a symlink stays in the folder or in the blobs of the Hugging
// Face cache that the folder belongs to: a checkpoint cannot make us read (or copy) anything else. The file must exist.
std::filesystem::path member_path(const std::filesystem::path& folder, std::string_view name);

class Checkpoint {
 public:
  explicit Checkpoint(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  const std::string& config_text() const { return config_text_; }  // config.json, verbatim

  bool has(std::string_view name) const { return tensors_.find(name) != tensors_.end(); }
  const TensorInfo& info(std::string_view name) const;   // Error(kBadInput) naming what is missing
  std::vector<std::string> names() const;                // sorted
  std::vector<std::string> names_in_file_order() const;  // shards by name, then as the data lies in each
  uint64_t total_bytes() const;

  void read_bytes(std::string_view name, std::span<std::byte> out) const;  // the whole tensor; sizes must agree
  // Rows [first, first + rows) of a matrix (or elements of a vector): as they are stored, and as float32 from F32, F16,
  // BF16 or F64.
  void read_rows(std::string_view name, int64_t first_row, int64_t rows, std::span<std::byte> out) const;
  void read_f32(std::string_view name, int64_t first_row, int64_t rows, std::span<float> out) const;
  std::vector<float> read_f32(std::string_view name) const;

  // Hash over names, dtypes, shapes and sizes plus config.json: recognises "another model" on resume. No weights are
  // read.
  std::string fingerprint() const;

  // Shards present in the folder that the index does not name, wrong total_size, both index and single file ...
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  struct Where {
    size_t file;
    const TensorInfo* info;
  };
  const Where& at(std::string_view name) const;
  void open_shard(const std::string& file_name);
  void open_indexed();
  void note_unlisted(const std::vector<std::string>& listed);
  std::filesystem::path folder_;
  std::string config_text_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, Where, std::less<>> tensors_;
  std::vector<std::string> warnings_;
};

}  // namespace awq::io
