// For differential_safetensors.py: for each path on standard input one line, either "reject REASON" or "accept" and
// each tensor as NAME|DTYPE|SHAPE|DATA, names and data in hex, in the order of the data.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iostream>
#include <string>
#include <vector>

#include "awq/error.h"
#include "io/safetensors.h"

namespace {

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte b : bytes) text += fmt::format("{:02x}", static_cast<unsigned>(b));
  return text;
}

std::string line_of(const std::string& path) {
  const awq::io::SafetensorsFile file(path);
  std::string line = "accept";
  for (const awq::io::TensorInfo& t : file.header().tensors) {
    std::vector<std::byte> data(t.bytes());
    file.read(t, 0, data);
    line += fmt::format(" {}|{}|{}|{}", hex(std::as_bytes(std::span(t.name))), t.known ? t.dtype_text : "other",
                        fmt::join(t.shape, ","), hex(data));
  }
  return line;
}

}  // namespace

int main() {
  for (std::string path; std::getline(std::cin, path);) {
    try {
      std::cout << line_of(path) << '\n';
    } catch (const awq::Error& e) {
      const std::string what = e.what();  // its first line is the reason, the others are context
      std::cout << "reject " << what.substr(0, what.find('\n')) << '\n';
    }
  }
}
