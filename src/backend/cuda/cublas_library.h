// libcublas or libcublasLt, opened at run time, of the version that this was compiled with: another major version may
// lay out its structures differently. Never closed: its threads and ours may end in any order.
#pragma once
#include <cublasLt.h>
#include <fmt/format.h>

#include <string>

#include "backend/cuda/shared_library.h"

namespace awq::backend::cuda {

class CublasLibrary {
 public:
  explicit CublasLibrary(const char* stem)  // "libcublasLt"
      : file_(fmt::format("{}.so.{}", stem, CUBLAS_VER_MAJOR)), handle_(dlopen(file_.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr)
      why_not_ = fmt::format("cannot open {} ({}): install cuBLAS {} or name its folder in LD_LIBRARY_PATH", file_,
                             dlerror(), CUBLAS_VER_MAJOR);
  }

  template <class Function>
  void load(Function*& function, const char* symbol) {
    if (handle_ != nullptr && !load_symbol(handle_, symbol, function))
      why_not_ = fmt::format("{} has no {}: the file is damaged or not cuBLAS", file_, symbol);
  }

  const std::string& why_not() const { return why_not_; }  // "", or what is missing and the remedy

 private:
  std::string file_;
  void* handle_;
  std::string why_not_;
};

}  // namespace awq::backend::cuda
