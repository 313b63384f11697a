#include "backend/device.h"

namespace awq::backend {

const FloatTensor* FloatBlock::find(std::string_view name) const {
  for (const FloatTensor& t : tensors)
    if (t.name == name) return &t;
  return nullptr;
}

FloatTensor* FloatBlock::find(std::string_view name) {
  return const_cast<FloatTensor*>(static_cast<const FloatBlock*>(this)->find(name));
}

}  // namespace awq::backend
