// Bytes of a file or of standard input, decompressed on the way when the name ends in .gz or .zst.
#pragma once
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace awq::io {

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Fills `out` from its begin; fewer bytes than asked for only at the end, 0 after it.
  virtual size_t read(std::span<char> out) = 0;
};

std::unique_ptr<ByteStream> open_stream(const std::filesystem::path&);  // Error(kBadInput) when it cannot be read
std::unique_ptr<ByteStream> open_stdin();

// Everything up to `max_bytes`; `cut` tells whether there was more. Memory stays within a small multiple of that
// however far the data would expand.
std::string read_up_to(ByteStream&, size_t max_bytes, bool& cut);

}  // namespace awq::io
