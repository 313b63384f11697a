// The safetensors header: an Error or a header that keeps its promises, never anything else.
#include <cstdint>
#include <cstring>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "awq/error.h"
#include "io/safetensors.h"

namespace {

using awq::io::SafetensorsHeader;

void require(bool promise) {
  if (!promise) __builtin_trap();
}

// What every reader of tensors relies on: distinct names, and ranges that tile the file from the data's start to its
// end.
void check(const SafetensorsHeader& header, uint64_t file_size) {
  std::set<std::string> names;
  uint64_t end = 0;
  for (const awq::io::TensorInfo& t : header.tensors) {
    require(names.insert(t.name).second);
    require(t.begin == end && t.end >= t.begin);
    end = t.end;
    if (!t.known) continue;
    uint64_t bytes = awq::dtype_bytes(t.dtype);
    for (const int64_t dim : t.shape) bytes *= static_cast<uint64_t>(dim);
    require(bytes == t.bytes());
  }
  require(header.data_start + end == file_size);
}

void parse(std::span<const std::byte> prefix, uint64_t file_size) {
  try {
    check(awq::io::parse_safetensors_header(prefix, file_size, "input"), file_size);
  } catch (const awq::Error& e) {
    require(e.kind() == awq::ErrorKind::kBadInput && *e.what() != 0);
    for (const char* c = e.what(); *c; ++c) require(*c == '\n' || (*c >= 0x20 && *c < 0x7f));  // safe to print
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> input(reinterpret_cast<const std::byte*>(data), size);
  parse(input, size);  // as a whole file
  // As the header alone, with its length put right and 16 bytes of data behind it: gets past the length check.
  const uint64_t length = size;
  std::vector<std::byte> file(sizeof length);
  std::memcpy(file.data(), &length, sizeof length);
  file.insert(file.end(), input.begin(), input.end());
  parse(file, file.size() + 16);
  return 0;
}
