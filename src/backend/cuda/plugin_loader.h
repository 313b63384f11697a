// Finds and opens libawq_cuda.so, once; every way in which that can fail has its sentence.
#pragma once
#include <filesystem>
#include <vector>

#include "backend/cuda/plugin.h"

namespace awq::backend::cuda {

// The plugin of this program: the file that AWQ_CUDA_PLUGIN names when it is set, else libawq_cuda.so beside the
// program, in its ../lib, or where the dynamic loader looks. Opened on the first call that succeeds, never closed: code
// of it may run until the process ends. Throws Error(kDevice).
const Plugin& plugin();

// The same from one file; a name without '/' is looked up by the dynamic loader.
const Plugin& open_plugin(const std::filesystem::path& file);

struct PluginSearch {
  std::filesystem::path named;                 // by the user; then nothing else is tried
  std::vector<std::filesystem::path> folders;  // in order
};
PluginSearch default_plugin_search();
const Plugin& find_and_open_plugin(const PluginSearch&);

}  // namespace awq::backend::cuda
