#include "quant/padding.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "awq/error.h"
#include "core/checked.h"
#include "format/serving.h"

namespace awq::quant {
namespace {

constexpr int64_t kMaxWidth = int64_t{1} << 22;
constexpr int kOneGpu[] = {1};

}  // namespace

model::ModelConfig padded_config(const model::ModelConfig& config, const QuantizeOptions& options) {
  model::ModelConfig padded = config;
  const int64_t asked = options.pad_intermediate;
  if (asked == kPadAuto) {
    const std::span<const int> gpus = options.serve_tp.empty() ? kOneGpu : std::span<const int>(options.serve_tp);
    padded.intermediate = format::serving_width(config.intermediate, options.config.group_size, gpus);
  } else if (asked != 0) {
    if (asked < config.intermediate || asked > kMaxWidth)
      throw Error(ErrorKind::kUsage, fmt::format("an intermediate size of {} is not in {} (the model's own) .. {}",
                                                 asked, config.intermediate, kMaxWidth));
    padded.intermediate = asked;
  }
  return padded;
}

void copy_padded(std::span<const std::byte> from, std::span<const int64_t> from_shape, std::span<std::byte> to,
                 std::span<const int64_t> to_shape) {
  AWQ_ASSERT(from_shape.size() == to_shape.size() && from_shape.size() <= 2 && from_shape[0] <= to_shape[0]);
  AWQ_ASSERT(from_shape.back() <= to_shape.back());
  const size_t rows = from_shape.size() == 2 ? from_shape[0] : 1, to_rows = from_shape.size() == 2 ? to_shape[0] : 1;
  const size_t from_row = from.size() / rows, to_row = to.size() / to_rows;
  std::fill(to.begin(), to.end(), std::byte{0});
  for (size_t r = 0; r < rows; ++r) std::memcpy(to.data() + r * to_row, from.data() + r * from_row, from_row);
}

}  // namespace awq::quant
