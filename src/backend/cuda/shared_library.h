// Functions of libraries that are opened at run time: the driver, NVML, cuBLAS, our own plugin.
#pragma once
#include <dlfcn.h>

namespace awq::backend::cuda {

// Points `function`, a pointer to a function, at `symbol`. False, and null, where the library has none.
template <class Function>
bool load_symbol(void* library, const char* symbol, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, symbol));
  return function != nullptr;
}

}  // namespace awq::backend::cuda
