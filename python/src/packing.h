// pack(): from arrays as a checkpoint holds them, in host memory or on a GPU, to a PackedLinear.
#pragma once
#include <memory>
#include <string>

#include "packed_linear.h"

namespace awq::python {

struct PackArrays {
  nb::handle qweight, qzeros, scales, bias;  // bias may be None
};

// `device`: "auto" (where the arrays are), "cpu", "cuda", "cuda:1".
std::unique_ptr<PackedLinear> pack(const PackArrays&, const std::string& layout, int group_size,
                                   const std::string& device);

}  // namespace awq::python
