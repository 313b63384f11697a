// What the plugin of this build was compiled with and for; detection needs it before there is a plugin to ask.
#pragma once
#include <span>

#include "backend/cuda/built_for.h"

namespace awq::backend::cuda {

struct Build {
  int toolkit = 0;                 // major version of CUDA; the driver must be as new
  std::span<const BuiltFor> code;  // empty: not known, so nothing is refused for it
};

Build this_build();

}  // namespace awq::backend::cuda
