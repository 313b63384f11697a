// Writing safetensors files and cutting a checkpoint into shards.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

#include "awq/error.h"
#include "core/checked.h"
#include "io/escape.h"
#include "io/safetensors.h"

namespace awq::io {
namespace {

constexpr size_t kMaxHeader = 100'000'000;  // readers refuse longer ones

std::string header_json(const std::vector<TensorSpec>& tensors) {
  uint64_t data_bytes = 0;
  std::string json = R"({"__metadata__":{"format":"pt"})";  // transformers refuses a file without it
  for (const TensorSpec& t : tensors) {
    const uint64_t end = checked_add(data_bytes, t.bytes(), "the file's size");
    json += fmt::format(R"(,{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", json_string(t.name),
                        dtype_name(t.dtype), fmt::join(t.shape, ","), data_bytes, end);
    data_bytes = end;
  }
  json += '}';
  json.append((8 - json.size() % 8) % 8, ' ');  // data begins on a multiple of 8
  return json;
}

std::string shard_name(size_t i, size_t count) {
  return count == 1 ? "model.safetensors" : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, count);
}

}  // namespace

std::string safetensors_prefix(const std::vector<TensorSpec>& tensors) {
  const std::string json = header_json(tensors);
  if (json.size() > kMaxHeader)
    throw Error(ErrorKind::kFailure,
                fmt::format("the header of {} tensors would have {} bytes, the format allows {}; use smaller shards",
                            tensors.size(), json.size(), kMaxHeader));
  const uint64_t length = json.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + json;
}

SafetensorsWriter::SafetensorsWriter(std::filesystem::path path, std::vector<TensorSpec> tensors)
    : file_(std::move(path)) {
  for (const TensorSpec& t : tensors) expected_ = checked_add(expected_, t.bytes(), "the file's size");
  file_.write(safetensors_prefix(tensors));
}

void SafetensorsWriter::write(std::span<const std::byte> data) {
  AWQ_ASSERT(data.size() <= expected_ - written_);
  file_.write(data);
  written_ += data.size();
}

void SafetensorsWriter::commit() {
  if (written_ != expected_)
    throw Error(ErrorKind::kFailure,
                fmt::format("internal error: a safetensors file got {} of its {} bytes", written_, expected_));
  file_.commit();
}

std::vector<Shard> plan_shards(const std::vector<TensorSpec>& tensors, uint64_t max_bytes) {
  std::vector<Shard> shards(1);
  uint64_t bytes = 0;
  for (const TensorSpec& t : tensors) {
    if (!shards.back().tensors.empty() && checked_add(bytes, t.bytes(), "the shard's size") > max_bytes) {
      shards.emplace_back();
      bytes = 0;
    }
    shards.back().tensors.push_back(t);
    bytes = checked_add(bytes, t.bytes(), "the shard's size");
  }
  for (size_t i = 0; i < shards.size(); ++i) shards[i].file = shard_name(i, shards.size());
  return shards;
}

std::string index_json(const std::vector<Shard>& shards) {
  std::map<std::string, std::string> weight_map;  // sorted by tensor name, as Hugging Face writes it
  uint64_t total = 0;
  for (const Shard& shard : shards)
    for (const TensorSpec& t : shard.tensors) {
      weight_map.emplace(json_string(t.name), json_string(shard.file));
      total = checked_add(total, t.bytes(), "the checkpoint's size");
    }
  std::string lines;
  for (const auto& [name, file] : weight_map)
    lines += fmt::format("{}\n    {}: {}", lines.empty() ? "" : ",", name, file);
  return fmt::format("{{\n  \"metadata\": {{\n    \"total_size\": {}\n  }},\n  \"weight_map\": {{{}\n  }}\n}}\n", total,
                     lines);
}

}  // namespace awq::io
