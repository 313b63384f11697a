// Tensor bytes to float32.
#pragma once
#include <cstddef>
#include <span>

#include "core/dtype.h"

namespace awq::io {

// True for F32, F16, BF16 and F64.
bool converts_to_f32(Dtype);

// `in` holds out.size() elements, at any alignment. F64 rounds to nearest; the others are exact.
void convert_to_f32(Dtype, const std::byte* in, std::span<float> out);

}  // namespace awq::io
