// The C API's inside says no with Failure; what implements backend/device.h says it with Error.
#pragma once
#include "awq/error.h"
#include "backend/cuda/failure.h"

namespace awq::backend::cuda {

inline ErrorKind kind_of(awq_cuda_status status) {
  switch (status) {
    case AWQ_CUDA_UNKNOWN_VERSION: return ErrorKind::kUsage;
    case AWQ_CUDA_BAD_SHAPE: return ErrorKind::kBadInput;
    default: return ErrorKind::kDevice;
  }
}

template <class Body>
decltype(auto) failure_as_error(Body&& body) {
  try {
    return body();
  } catch (const Failure& f) {
    throw Error(kind_of(f.status()), f.what());
  }
}

}  // namespace awq::backend::cuda
