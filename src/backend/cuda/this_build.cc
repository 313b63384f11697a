#include "backend/cuda/this_build.h"

namespace awq::backend::cuda {

#ifdef AWQ_CUDA_TOOLKIT_MAJOR  // from src/backend/CMakeLists.txt

Build this_build() {
  static constexpr BuiltFor kCode[] = {AWQ_CUDA_BUILT_FOR};  // from cmake/cuda.cmake
  return {.toolkit = AWQ_CUDA_TOOLKIT_MAJOR, .code = kCode};
}

#else

Build this_build() {
  constexpr int kOldestToolkit = 12;  // that the plugin compiles with: one from elsewhere needs at least that
  return {.toolkit = kOldestToolkit, .code = {}};
}

#endif

}  // namespace awq::backend::cuda
