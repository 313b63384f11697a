#include "backend/cpu/fold.h"

#include <string>

#include "core/checked.h"

namespace awq::backend::cpu {
namespace {

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

}  // namespace awq::backend::cpu
