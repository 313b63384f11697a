#include "io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "awq/error.h"
#include "core/checked.h"
#include "io/escape.h"
#include "io/json_dom.h"

namespace awq::io {
namespace dom = simdjson::dom;
static_assert(std::endian::native == std::endian::little, "tensor bytes are used as they are in the file");
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeader = 100'000'000;  // the reference's cap
constexpr size_t kMaxRank = 32;               // ours; no tensor of a language model comes near
constexpr uint64_t kLfsPointerBytes = 200;    // what to show refuse_lfs_pointer() of a file without a sane length

// Element types of the reference that we do not compute with. Their sizes are checked all the same.
struct ForeignDtype {
  std::string_view name;
  uint64_t bits;
};
constexpr ForeignDtype kForeign[] = {{"F4", 4},          {"F6_E2M3", 6},     {"F6_E3M2", 6}, {"F8_E8M0", 8},
                                     {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"C64", 64}};

std::optional<uint64_t> dtype_bits(const TensorInfo& t) {
  if (t.known) return 8 * dtype_bytes(t.dtype);
  for (const ForeignDtype& row : kForeign)
    if (row.name == t.dtype_text) return row.bits;
  return std::nullopt;
}

uint64_t element_count(const std::vector<int64_t>& shape) {
  uint64_t count = 1;
  for (const int64_t dim : shape) count = checked_mul(count, static_cast<uint64_t>(dim), "the number of elements");
  return count;
}

class HeaderReader {
 public:
  explicit HeaderReader(const std::string& what) : what_(what) {}

  void read(std::string_view json, SafetensorsHeader& header) {
    refuse_minus_zero(json);
    dom::parser parser;
    dom::object root;
    if (parse_document(parser, json, "the header of " + what_).get(root)) fail("its header is not a JSON object");
    refuse_duplicate_keys(root, "the header of " + what_);
    for (const dom::key_value_pair& field : root) {
      if (field.key == "__metadata__")
        read_metadata(field.value, header);
      else
        header.tensors.push_back(read_tensor(field.key, field.value));
    }
  }

  // Rules 6 and 10: sorted by offset, the tensors tile the data without hole or overlap.
  void check_layout(std::vector<TensorInfo>& tensors, uint64_t data_bytes) {
    std::stable_sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
      return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    const TensorInfo* previous = nullptr;
    uint64_t end = 0;
    for (const TensorInfo& t : tensors) {
      if (t.begin < end)
        fail(fmt::format("tensors {} and {} overlap at data byte {}", printable(previous->name), printable(t.name),
                         t.begin));
      if (t.begin > end)
        fail(
            fmt::format("data bytes {} to {}, before tensor {}, belong to no tensor", end, t.begin, printable(t.name)));
      previous = &t;
      end = t.end;
    }
    if (end != data_bytes)
      fail(fmt::format("its tensors need {} bytes of data and it has {}; {}", end, data_bytes,
                       end > data_bytes ? "the file is truncated: download it again"
                                        : "bytes after the last tensor are not allowed"));
  }

  [[noreturn]] void fail(const std::string& why) const {
    throw Error(ErrorKind::kBadInput, fmt::format("{} is not a valid safetensors file: {}", what_, why));
  }

 private:
  // simdjson reads -0 as the integer 0; the reference refuses it.
  void refuse_minus_zero(std::string_view json) const {
    if (json.find("-0") == json.npos) return;
    for_each_outside_strings(json, [&](size_t i) {
      const std::string_view rest = json.substr(i);
      const bool exponent = i > 0 && (json[i - 1] == 'e' || json[i - 1] == 'E');
      if (!exponent && rest.starts_with("-0") && rest.find_first_of(".eE", 2) != 2)
        fail("its header holds the number -0");
    });
  }

  void read_metadata(dom::element value, SafetensorsHeader& header) {
    if (value.is_null()) return;
    dom::object object;
    if (value.get(object)) fail("__metadata__ is not an object");
    for (const dom::key_value_pair& field : object) {
      std::string_view text;
      if (field.value.get(text)) fail(fmt::format("__metadata__ entry {} is not a string", printable(field.key)));
      if (!header.metadata.emplace(field.key, text).second)
        fail(fmt::format("__metadata__ holds the key {} twice", printable(field.key)));
    }
  }

  TensorInfo read_tensor(std::string_view name, dom::element value) {
    TensorInfo t;
    t.name = name;
    dom::object entry;
    if (value.get(entry)) fail_tensor(name, "is not an object");
    int dtypes = 0, shapes = 0, offsets = 0;
    for (const dom::key_value_pair& field : entry) {  // other keys are ignored, as the reference does
      if (field.key == "dtype") read_dtype(field.value, t), ++dtypes;
      if (field.key == "shape") t.shape = read_shape(field.value, name), ++shapes;
      if (field.key == "data_offsets") read_offsets(field.value, t), ++offsets;
    }
    if (dtypes != 1 || shapes != 1 || offsets != 1)
      fail_tensor(name, "must have dtype, shape and data_offsets, each once");
    check_size(t);
    return t;
  }

  void read_dtype(dom::element value, TensorInfo& t) {
    std::string_view text;
    if (value.get(text)) fail_tensor(t.name, "has a dtype that is not a string");
    t.dtype_text = text;
    const std::optional<Dtype> dtype = parse_dtype(text);
    t.known = dtype.has_value();
    t.dtype = dtype.value_or(Dtype::kU8);
  }

  std::vector<int64_t> read_shape(dom::element value, std::string_view name) {
    dom::array array;
    if (value.get(array)) fail_tensor(name, "has a shape that is not an array");
    std::vector<int64_t> shape;
    for (const dom::element dim : array) {
      int64_t size = 0;
      if (dim.get(size) || size < 0)
        fail_tensor(name, "has a shape that is not made of whole numbers from 0 to 2^63 - 1");
      shape.push_back(size);
    }
    if (shape.size() > kMaxRank)
      fail_tensor(name, fmt::format("has {} dimensions, the limit is {}", shape.size(), kMaxRank));
    return shape;
  }

  void read_offsets(dom::element value, TensorInfo& t) {
    dom::array array;
    if (value.get(array) || array.size() != 2 || array.at(0).get(t.begin) || array.at(1).get(t.end))
      fail_tensor(t.name, "has data_offsets that are not two whole numbers");
    if (t.begin > t.end) fail_tensor(t.name, fmt::format("ends at data byte {}, before its begin {}", t.end, t.begin));
  }

  // Rules 7 to 9. Of a dtype that nobody knows the size cannot be checked; that tensor can never be read either.
  void check_size(const TensorInfo& t) {
    const std::optional<uint64_t> bits_each = dtype_bits(t);
    if (!bits_each) return;
    const uint64_t bits =
        with_context([&] { return fmt::format("reading tensor {} of {}", printable(t.name), what_); },
                     [&] { return checked_mul(element_count(t.shape), *bits_each, "the tensor's size"); });
    if (bits % 8 != 0) fail_tensor(t.name, fmt::format("has {} bits, not a whole number of bytes", bits));
    if (bits / 8 != t.bytes())
      fail_tensor(t.name, fmt::format("needs {} bytes for its shape and dtype {} but has {}", bits / 8, t.dtype_text,
                                      t.bytes()));
  }

  [[noreturn]] void fail_tensor(std::string_view name, const std::string& why) const {
    fail(fmt::format("tensor {} {}", printable(name), why));
  }

  const std::string& what_;
};

uint64_t header_length(std::span<const std::byte> prefix) {
  uint64_t length;
  std::memcpy(&length, prefix.data(), sizeof length);
  return length;
}

// The length and the header, or the first bytes when the length makes no sense: parse_safetensors_header() says why.
std::vector<std::byte> read_prefix(const File& file) {
  std::vector<std::byte> prefix(std::min(file.size(), kLengthBytes));
  file.read_at(0, prefix);
  if (prefix.size() < kLengthBytes) return prefix;
  const uint64_t length = header_length(prefix);
  prefix.resize(std::min(file.size(), length <= kMaxHeader ? kLengthBytes + length : kLfsPointerBytes));
  file.read_at(kLengthBytes, std::span(prefix).subspan(kLengthBytes));
  return prefix;
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> prefix, uint64_t file_size,
                                           const std::string& what) {
  HeaderReader reader(what);
  const std::string_view text(reinterpret_cast<const char*>(prefix.data()), prefix.size());
  refuse_lfs_pointer(text, what);
  if (prefix.size() < kLengthBytes) reader.fail(fmt::format("it has {} bytes, a header length takes 8", prefix.size()));
  const uint64_t length = header_length(prefix);
  if (length > kMaxHeader)
    reader.fail(fmt::format("its header length {} is above the limit of {}", length, kMaxHeader));
  if (length > file_size - kLengthBytes || length > prefix.size() - kLengthBytes)
    reader.fail(
        fmt::format("its header length {} goes past its end at {} bytes; the file is truncated: download it again",
                    length, file_size));
  SafetensorsHeader header;
  header.data_start = kLengthBytes + length;
  reader.read(text.substr(kLengthBytes, length), header);
  reader.check_layout(header.tensors, file_size - header.data_start);
  return header;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(path), header_(parse_safetensors_header(read_prefix(file_), file_.size(), printable(path.native()))) {
  for (size_t i = 0; i < header_.tensors.size(); ++i) index_.emplace(header_.tensors[i].name, i);
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const {
  const auto at = index_.find(name);
  return at == index_.end() ? nullptr : &header_.tensors[at->second];
}

void SafetensorsFile::read(const TensorInfo& t, uint64_t offset, std::span<std::byte> out) const {
  AWQ_ASSERT(offset <= t.bytes() && out.size() <= t.bytes() - offset);
  file_.read_at(header_.data_start + t.begin + offset, out);
}

uint64_t TensorSpec::bytes() const {
  return checked_mul(element_count(shape), dtype_bytes(dtype), "the tensor's size");
}

}  // namespace awq::io
