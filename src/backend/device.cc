#include "backend/device.h"

#include <fmt/format.h>

#include "awq/error.h"
#include "model/architectures.h"

namespace awq::backend {

const FloatTensor* FloatBlock::find(std::string_view name) const {
  for (const FloatTensor& t : tensors)
    if (t.name == name) return &t;
  return nullptr;
}

FloatTensor* FloatBlock::find(std::string_view name) {
  return const_cast<FloatTensor*>(static_cast<const FloatBlock*>(this)->find(name));
}

Error not_finite(int64_t layer, std::string_view tensor, uint64_t count, uint64_t first) {
  return Error(ErrorKind::kBadInput,
               fmt::format("tensor '{}{}' holds {} values that are not finite, the first at element {}: "
                           "the checkpoint is damaged",
                           model::block_prefix(layer), tensor, count, first));
}

}  // namespace awq::backend
