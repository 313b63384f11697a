#include "backend/cuda/plugin_loader.h"

#include <fmt/format.h>
#include <sys/auxv.h>

#include <cstdlib>
#include <string>

#include "awq/error.h"
#include "backend/cuda/shared_library.h"

namespace awq::backend::cuda {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFileName = "libawq_cuda.so";
constexpr const char* kOverride = "AWQ_CUDA_PLUGIN";

Error device_error(const std::string& what) { return Error(ErrorKind::kDevice, what); }

std::string loader_reason() {
  const char* reason = dlerror();
  return reason == nullptr ? "no reason given" : reason;
}

bool is_there(const fs::path& path) {
  std::error_code unreadable;  // a folder that may not be looked into holds nothing for us
  return fs::exists(path, unreadable);
}

template <class Function>
Function function(void* library, const fs::path& file, const char* name) {
  Function found = nullptr;
  if (!load_symbol(library, name, found))
    throw device_error(
        fmt::format("{} is not the CUDA plugin of awq: it has no {}; install the {} of this program's build",
                    file.string(), name, kFileName));
  return found;
}

// The interface is C++: two builds may disagree about it without any loader noticing.
void check_abi(void* library, const fs::path& file) {
  const int abi = function<int (*)()>(library, file, "awq_cuda_plugin_abi")();
  if (abi != kPluginAbi)
    throw device_error(
        fmt::format("{} has plugin interface {}, this program needs {}: install the {} of the same build",
                    file.string(), abi, kPluginAbi, kFileName));
}

Error missing(const PluginSearch& search) {
  std::string places;
  for (const fs::path& folder : search.folders) places += folder.string() + ", ";
  return device_error(
      fmt::format("the CUDA kernels are not installed: there is no {} in {}or on the loader's path; build awq with "
                  "-DAWQ_CUDA=ON, name the file in {}, or use --device cpu",
                  kFileName, places, kOverride));
}

// Folder of the file that holds this very code: the program, or a module of Python. Empty when the system does not say.
fs::path own_folder() {
  Dl_info own{}, program{};
  dladdr(reinterpret_cast<void*>(&own_folder), &own);
  dladdr(reinterpret_cast<void*>(getauxval(AT_ENTRY)), &program);
  // dladdr knows the program by argv[0] alone, which may be anything.
  const bool in_program = own.dli_fname == nullptr || own.dli_fbase == program.dli_fbase;
  std::error_code unknown;
  return fs::canonical(in_program ? "/proc/self/exe" : own.dli_fname, unknown).parent_path();
}

}  // namespace

const Plugin& open_plugin(const fs::path& file) {
  // RTLD_NOW: a symbol that is missing shows here, not in the middle of a launch.
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    throw device_error(fmt::format("cannot load the CUDA plugin {}: {}; install the {} of this program's build",
                                   file.string(), loader_reason(), kFileName));
  check_abi(library, file);
  const Plugin* opened = function<const Plugin* (*)()>(library, file, "awq_cuda_plugin")();
  if (opened == nullptr) throw device_error(fmt::format("{} offers no plugin: install it again", file.string()));
  return *opened;
}

PluginSearch default_plugin_search() {
  PluginSearch search;
  if (const char* named = std::getenv(kOverride); named != nullptr && *named != '\0') search.named = named;
  const fs::path own = own_folder();
  if (own.empty()) return search;
  search.folders = {own, own.parent_path() / "lib", own.parent_path() / "lib64"};
  return search;
}

const Plugin& find_and_open_plugin(const PluginSearch& search) {
  if (!search.named.empty()) {
    if (!is_there(search.named))
      throw device_error(
          fmt::format("{} names {}, which does not exist: correct it or unset it", kOverride, search.named.string()));
    return open_plugin(fs::absolute(search.named));
  }
  for (const fs::path& folder : search.folders)
    if (is_there(folder / kFileName)) return open_plugin(folder / kFileName);
  void* on_loader_path = dlopen(kFileName, RTLD_LAZY | RTLD_LOCAL);
  // A file that is there and lacks a library of its own fails with that one's name, in open_plugin().
  const bool nowhere =
      on_loader_path == nullptr && loader_reason().starts_with(fmt::format("{}: cannot open", kFileName));
  if (nowhere) throw missing(search);
  return open_plugin(kFileName);
}

const Plugin& plugin() {
  static const Plugin& opened = find_and_open_plugin(default_plugin_search());
  return opened;
}

}  // namespace awq::backend::cuda
