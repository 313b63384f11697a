// A linear as the decoder block sees it, whatever its weights are stored as.
#pragma once
#include <cstdint>
#include <string>

#include "core/matrix_view.h"
#include "core/thread_pool.h"

namespace awq::backend::cpu {

class Linear {
 public:
  virtual ~Linear() = default;
  virtual int64_t n() const = 0;
  virtual int64_t k() const = 0;
  virtual uint64_t bytes() const = 0;  // of weights that one forward reads
  virtual std::string kernel_for(int64_t m) const = 0;
  virtual void forward(ThreadPool&, MatrixView<const float> x,
                       MatrixView<float> y) const = 0;  // y (m, n) = x w' + bias
};

}  // namespace awq::backend::cpu
