#include "quant/fold.h"

#include <fmt/format.h>

#include "core/checked.h"

namespace awq::quant {
namespace {

using backend::FloatBlock;
using backend::FloatTensor;

void divide_rows(FloatTensor& t, std::span<const float> scale) {
  const int64_t rows = t.shape[0], cols = t.shape.size() > 1 ? t.shape[1] : 1, first = rows - std::ssize(scale);
  AWQ_ASSERT(first >= 0);
  for (int64_t r = 0; r < std::ssize(scale); ++r)
    for (int64_t c = 0; c < cols; ++c) t.data[(first + r) * cols + c] /= scale[r];
}

}  // namespace

void scale_columns(MatrixView<float> weight, std::span<const float> scale) {
  for (int64_t r = 0; r < weight.rows; ++r)
    for (int64_t c = 0; c < weight.cols; ++c) weight(r, c) *= scale[c];
}

void fold_scale(FloatBlock& block, const model::LayerGroup& group, std::span<const float> scale) {
  const std::string producer(group.absorbs);
  FloatTensor* weight = block.find(producer + ".weight");
  AWQ_ASSERT(weight != nullptr);
  divide_rows(*weight, scale);
  if (FloatTensor* bias = block.find(producer + ".bias")) divide_rows(*bias, scale);
  for (std::string_view name : group.linears) {
    if (name.empty()) break;
    FloatTensor* w = block.find(std::string(name) + ".weight");
    AWQ_ASSERT(w != nullptr && w->shape.size() == 2 && w->shape[1] == std::ssize(scale));
    scale_columns({w->data.data(), w->shape[0], w->shape[1]}, scale);
  }
}

std::string cannot_fold(const FloatBlock& block, const model::LayerGroup& group) {
  if (!group.only_if_square) return {};
  const FloatTensor* producer = block.find(std::string(group.absorbs) + ".weight");
  const FloatTensor* consumer = block.find(std::string(group.linears[0]) + ".weight");
  AWQ_ASSERT(producer && consumer);
  if (producer->shape == consumer->shape) return {};
  return fmt::format("{} has {} outputs, {} has {} inputs", group.absorbs, producer->shape[0], group.linears[0],
                     consumer->shape[1]);
}

}  // namespace awq::quant
