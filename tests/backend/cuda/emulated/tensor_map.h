// What an emulated CUtensorMap says.
#pragma once
#include <cuda.h>

#include <cstdint>

namespace awq::emulated {

struct TensorMap {
  uint64_t mark;
  std::byte* base;
  uint64_t sizes[5];
  uint64_t strides[5];  // bytes; strides[0] is an element's
  uint16_t box[5];
  uint8_t rank, swizzle;  // bits of the address that are mixed in: 0 .. 3
};
static_assert(sizeof(TensorMap) <= sizeof(CUtensorMap));

inline constexpr uint64_t kTensorMapMark = 0x7e9504a9c0ffee01ull;

// cuTensorMapEncodeTiled: the rules of its documentation.
CUresult encode_tiled(CUtensorMap*, CUtensorMapDataType, cuuint32_t rank, void* base, const cuuint64_t* sizes,
                      const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* steps, CUtensorMapInterleave,
                      CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

}  // namespace awq::emulated
