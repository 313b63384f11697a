// oneDNN's bfloat16 product: the ceiling of CPUs whose matrix units (AMX) multiply that type.
#pragma once
#include <cstdint>
#include <memory>

#include "core/matrix_view.h"

namespace awq::bench {

// y (m, n) = x (m, k) w' with x and w already in bfloat16 and w, in `copies` copies, already in the order that oneDNN
// asks for (format_tag::any): only the product is left to time. y stays float32. To be made and used inside
// with_onednn_threads.
class OnednnBf16 {
 public:
  OnednnBf16(MatrixView<const float> x, MatrixView<const float> w, MatrixView<float> y, int copies);
  ~OnednnBf16();
  void run(int copy);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace awq::bench
