// The rows that registry.cc lists; each is defined in the file of its layout.
#pragma once
#include "format/registry.h"

namespace awq::format {

extern const LayoutRow kGemmRow, kGemvRow, kGemvFastRow;

}  // namespace awq::format
