// The element types that activations may have on the CPU, as a table: what a kernel computes with is float32.
#pragma once
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "core/half.h"

namespace awq::python {

namespace nb = nanobind;

struct FloatType {
  nb::dlpack::dtype dtype;
  const char* name;
  void (*to_f32)(const void* from, std::span<float> to);
  void (*from_f32)(std::span<const float> from, void* to);
};

inline constexpr FloatType kFloatTypes[] = {
    {{static_cast<uint8_t>(nb::dlpack::dtype_code::Float), 32, 1},
     "float32",
     [](const void* from, std::span<float> to) { std::memcpy(to.data(), from, to.size_bytes()); },
     [](std::span<const float> from, void* to) { std::memcpy(to, from.data(), from.size_bytes()); }},
    {{static_cast<uint8_t>(nb::dlpack::dtype_code::Float), 16, 1},
     "float16",
     [](const void* from, std::span<float> to) {
       std::transform(static_cast<const f16_t*>(from), static_cast<const f16_t*>(from) + to.size(), to.begin(),
                      f16_to_f32);
     },
     [](std::span<const float> from, void* to) {
       std::transform(from.begin(), from.end(), static_cast<f16_t*>(to), f32_to_f16);
     }},
    {{static_cast<uint8_t>(nb::dlpack::dtype_code::Bfloat), 16, 1},
     "bfloat16",
     [](const void* from, std::span<float> to) {
       std::transform(static_cast<const bf16_t*>(from), static_cast<const bf16_t*>(from) + to.size(), to.begin(),
                      bf16_to_f32);
     },
     [](std::span<const float> from, void* to) {
       std::transform(from.begin(), from.end(), static_cast<bf16_t*>(to), f32_to_bf16);
     }},
};

// nullptr for any other type.
inline const FloatType* float_type(nb::dlpack::dtype dtype) {
  const auto* row = std::ranges::find(kFloatTypes, dtype, &FloatType::dtype);
  return row == std::end(kFloatTypes) ? nullptr : row;
}

}  // namespace awq::python
