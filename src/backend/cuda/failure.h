// How the inside of the C API says no: a status and the sentence for the caller's message. c_api.cc catches it.
#pragma once
#include <cuda_runtime_api.h>

#include <exception>
#include <string>
#include <utility>

#include "awq/cuda.h"

namespace awq::backend::cuda {

class Failure : public std::exception {
 public:
  Failure(awq_cuda_status status, std::string text) : status_(status), text_(std::move(text)) {}
  awq_cuda_status status() const noexcept { return status_; }
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  awq_cuda_status status_;
  std::string text_;
};

inline void check(cudaError_t error, const char* doing) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // clears the non-sticky ones: the next call of the caller must not report ours
  throw Failure(AWQ_CUDA_FAILED, std::string(doing) + ": " + cudaGetErrorString(error));
}

}  // namespace awq::backend::cuda
