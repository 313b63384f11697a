#include "format/salient.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <span>

#include "awq/error.h"

namespace awq::format {
namespace {

[[noreturn]] void bad(const io::SafetensorsFile& file, const std::string& tensor, const std::string& what) {
  throw Error(ErrorKind::kBadInput,
              fmt::format("{}: tensor {} {}; quantize again with --keep-fp16, or run without the file",
                          file.path().string(), tensor, what));
}

void check(const io::SafetensorsFile& file, const io::TensorInfo& t, Dtype dtype, const std::vector<int64_t>& shape) {
  if (!t.known || t.dtype != dtype)
    bad(file, t.name, fmt::format("has dtype {}, {} is needed", t.dtype_text, dtype_name(dtype)));
  if (t.shape != shape)
    bad(file, t.name, fmt::format("has shape [{}], [{}] is needed", fmt::join(t.shape, ", "), fmt::join(shape, ", ")));
}

void check_index(const io::SafetensorsFile& file, const std::string& tensor, std::span<const int32_t> index,
                 int64_t k) {
  if (std::adjacent_find(index.begin(), index.end(), std::greater_equal<>()) != index.end())
    bad(file, tensor, "is not ascending");
  if (!index.empty() && (index.front() < 0 || index.back() >= k))
    bad(file, tensor, fmt::format("names channels {} .. {}, the linear has {}", index.front(), index.back(), k));
}

}  // namespace

SalientColumns read_salient(const io::SafetensorsFile& file, const std::string& module, int64_t n, int64_t k) {
  const std::string index_name = module + ".salient_index", delta_name = module + ".salient_delta";
  const io::TensorInfo* index = file.find(index_name);
  const io::TensorInfo* delta = file.find(delta_name);
  if (index == nullptr && delta == nullptr) return {};
  if (index == nullptr || delta == nullptr) bad(file, index ? delta_name : index_name, "is missing");

  if (index->shape.size() != 1 || index->shape[0] > k)
    bad(file, index_name,
        fmt::format("has shape [{}], at most {} channels are possible", fmt::join(index->shape, ", "), k));
  const int64_t count = index->shape[0];
  check(file, *index, Dtype::kI32, {count});
  check(file, *delta, Dtype::kF16, {count, n});

  SalientColumns columns;  // the file proved on opening that these sizes lie within it
  columns.index.resize(count);
  columns.delta.resize(count * n);
  file.read(*index, 0, std::as_writable_bytes(std::span(columns.index)));
  file.read(*delta, 0, std::as_writable_bytes(std::span(columns.delta)));
  check_index(file, index_name, columns.index, k);
  if (!std::ranges::all_of(columns.delta, is_finite_f16)) bad(file, delta_name, "holds NaN or infinity");
  return columns;
}

std::vector<io::TensorSpec> salient_specs(const std::string& module, int64_t count, int64_t n) {
  return {{.name = module + ".salient_index", .dtype = Dtype::kI32, .shape = {count}},
          {.name = module + ".salient_delta", .dtype = Dtype::kF16, .shape = {count, n}}};
}

}  // namespace awq::format
