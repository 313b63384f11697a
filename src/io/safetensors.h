// The safetensors container: 8 bytes little-endian header length, JSON header, data.
//
//   [ u64 N ][ {"name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}, ...}  spaces to 8 bytes ][ data ]
//
// The reader enforces the ten rules of the reference implementation and refuses duplicate names; see safetensors.cc.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "io/file.h"

namespace awq::io {

struct TensorInfo {
  std::string name;
  std::string dtype_text;  // as written; `dtype` is valid only when `known`
  Dtype dtype = Dtype::kF32;
  bool known = true;  // false: a dtype we do not handle; an error only when somebody needs the tensor
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // relative to the start of the data
  uint64_t bytes() const { return end - begin; }
};

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // sorted by offset
  std::map<std::string, std::string> metadata;
  uint64_t data_start = 0;
};

// `prefix` holds at least the 8-byte length and the header it announces; `file_size` is the size of the whole file.
// Pure: this is the function under fuzzing. `what` names the file in messages.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> prefix, uint64_t file_size,
                                           const std::string& what);

class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path&);
  const SafetensorsHeader& header() const { return header_; }
  const TensorInfo* find(std::string_view name) const;  // nullptr when absent
  const std::filesystem::path& path() const { return file_.path(); }
  // `out.size()` bytes of the tensor from its byte `offset`.
  void read(const TensorInfo&, uint64_t offset, std::span<std::byte> out) const;

 private:
  File file_;
  SafetensorsHeader header_;
  std::map<std::string, size_t, std::less<>> index_;
};

struct TensorSpec {  // what a file to be written will hold
  std::string name;
  Dtype dtype = Dtype::kF16;
  std::vector<int64_t> shape;
  uint64_t bytes() const;
};

// What comes before the data of a file with these tensors: length and header. Metadata is {"format": "pt"}, which
// transformers requires. Error(kFailure) when readers would refuse a header of that length.
std::string safetensors_prefix(const std::vector<TensorSpec>&);

// Writes one file; data comes in the order of `tensors`.
class SafetensorsWriter {
 public:
  SafetensorsWriter(std::filesystem::path, std::vector<TensorSpec> tensors);
  void write(std::span<const std::byte> data);  // the next bytes of the data section
  void commit();                                // Error(kFailure) unless exactly all bytes were written

 private:
  AtomicFile file_;
  uint64_t expected_ = 0, written_ = 0;
};

// Cuts tensors into shards as Hugging Face does: in order, never splitting a tensor, a new file when `max_bytes` would
// be exceeded. Names: model.safetensors for one, model-00001-of-0000N.safetensors for more.
struct Shard {
  std::string file;
  std::vector<TensorSpec> tensors;
};
std::vector<Shard> plan_shards(const std::vector<TensorSpec>&, uint64_t max_bytes);
std::string index_json(const std::vector<Shard>&);  // model.safetensors.index.json, meaningful for more than one shard

}  // namespace awq::io
