// awq/cuda.h for C++: the same calls, with a status that is not AWQ_CUDA_OK thrown instead of returned. Header only, so
// that nothing of C++ crosses the library's border; include it or call the C functions, whichever your errors want.
#pragma once
#include <stdexcept>
#include <string_view>

#include "awq/cuda.h"

namespace awq::cuda {

class Failure : public std::runtime_error {
 public:
  Failure(awq_cuda_status status, const awq_cuda_message& message)
      : std::runtime_error(message.text), status_(status) {}
  awq_cuda_status status() const noexcept { return status_; }

 private:
  awq_cuda_status status_;
};

// check([&](awq_cuda_message* why) { return awq_cuda_...(..., why); })
template <class Call>
void check(Call&& call) {
  awq_cuda_message message;
  if (const awq_cuda_status status = call(&message); status != AWQ_CUDA_OK) throw Failure(status, message);
}

inline void repack(const awq_cuda_source& from, const awq_cuda_linear& to, void* stream) {
  check([&](awq_cuda_message* why) { return awq_cuda_repack(&from, &to, stream, why); });
}

inline size_t workspace_bytes(const awq_cuda_linear& w, awq_cuda_type type, int64_t m_max,
                              const char* version = "auto") {
  size_t bytes = 0;
  check([&](awq_cuda_message* why) { return awq_cuda_workspace_bytes(version, &w, type, m_max, &bytes, why); });
  return bytes;
}

// Name of the kernel that will run.
inline std::string_view selected(const awq_cuda_linear& w, awq_cuda_type type, int64_t m,
                                 const char* version = "auto") {
  const char* name = nullptr;
  check([&](awq_cuda_message* why) { return awq_cuda_select(version, &w, type, m, &name, why); });
  return name;
}

struct Workspace {  // device memory of the caller
  void* data = nullptr;
  size_t bytes = 0;
};

inline void forward(const awq_cuda_linear& w, awq_cuda_type type, int64_t m, const void* x, void* y,
                    const Workspace& workspace, void* stream, const char* version = "auto") {
  check([&](awq_cuda_message* why) {
    return awq_cuda_forward(version, &w, type, m, x, y, workspace.data, workspace.bytes, stream, why);
  });
}

}  // namespace awq::cuda
