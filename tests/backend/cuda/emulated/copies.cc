// cp.async.bulk and st.async: copies that an mbarrier counts the bytes of. They land as late as they may: when every
// thread waits.
#include <algorithm>
#include <array>
#include <cstring>

#include "backend/cuda/emulated/device_memory.h"
#include "backend/cuda/emulated/grid.h"
#include "backend/cuda/emulated/instructions.h"
#include "backend/cuda/emulated/mbarrier.h"
#include "backend/cuda/emulated/tensor_map.h"

namespace awq::emulated {
namespace {

void later(Block& block, std::function<void()> land) {
  block.bulk.push_back({std::move(land)});
  happened();
}

struct Box {
  TensorMap map;
  int64_t at[5];

  size_t bytes() const {
    size_t all = map.strides[0];
    for (int i = 0; i < map.rank; ++i) all *= map.box[i];
    return all;
  }
  // Rows of the box's innermost axis, one after the other; where the tensor has nothing there are zeros.
  void land(std::byte* to, uint32_t address) const {
    const size_t row = map.box[0] * map.strides[0];
    uint32_t i[5] = {};
    for (size_t done = 0; done < bytes(); done += row) {
      copy_row(to, address, done, i);
      for (int axis = 1; axis < map.rank && ++i[axis] == map.box[axis]; ++axis) i[axis] = 0;
    }
  }

 private:
  void copy_row(std::byte* to, uint32_t address, size_t done, const uint32_t (&i)[5]) const {
    const std::byte* from = map.base;
    bool inside = true;
    for (int axis = 1; axis < map.rank; ++axis) {
      const int64_t c = at[axis] + i[axis];
      inside &= c >= 0 && static_cast<uint64_t>(c) < map.sizes[axis];
      from += c * static_cast<int64_t>(map.strides[axis]);
    }
    const auto element = static_cast<int64_t>(map.strides[0]), row = element * map.box[0];
    const int64_t first = std::max<int64_t>(0, -at[0]);  // of the box's elements that the tensor has
    const int64_t last = std::min<int64_t>(map.box[0], static_cast<int64_t>(map.sizes[0]) - at[0]);
    std::array<std::byte, 2048> bytes{};
    if (inside && first < last)
      std::memcpy(bytes.data() + first * element, from + (at[0] + first) * element,
                  static_cast<size_t>((last - first) * element));
    for (int64_t unit = 0; unit < row; unit += 16)
      std::memcpy(to + swizzled(address, done + static_cast<size_t>(unit)), bytes.data() + unit, 16);
  }
  // The 16-byte unit within 128 bytes is mixed with the number of the 128 bytes within 1024, by address.
  size_t swizzled(uint32_t address, size_t offset) const {
    const size_t where = address + offset;
    return (where ^ (where >> 7 & ((1u << map.swizzle) - 1)) << 4) - address;
  }
};

size_t rank_of(const Instruction& i) {
  for (const std::string& part : i.parts)
    if (part.size() == 2 && part[1] == 'd') return static_cast<size_t>(part[0] - '0');
  return 0;
}

}  // namespace

void bulk_copy(Call& c) {
  const uint32_t bytes = c.u32(2);
  if (bytes % 16 != 0 || bytes == 0)
    fail(std::string(c.name()) + " of " + std::to_string(bytes) + " bytes, no multiple of 16");
  std::byte* const to = shared_bytes(c.u32(0), bytes, 1, c.name());
  shared_bytes(c.u32(0), 16, 16, c.name());
  const auto* const from = c.pointer<const std::byte>(1);
  check_device_memory(from, bytes, 16, c.name());
  void* const barrier = mbarrier_at(c.u32(3), c.name());
  later(block_of(c.u32(0)), [=] {
    std::memcpy(to, from, bytes);
    mbarrier_landed(barrier, bytes);
  });
}

// 16 bytes: four registers of 32 bits.
void store_counted(Call& c) {
  std::array<uint32_t, 4> bytes;
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = c.u32(1 + i);
  std::byte* const to = shared_bytes(c.u32(0), sizeof bytes, sizeof bytes, c.name());
  void* const barrier = mbarrier_at(c.u32(1 + bytes.size()), c.name());
  later(block_of(c.u32(0)), [=] {
    std::memcpy(to, bytes.data(), sizeof bytes);
    mbarrier_landed(barrier, sizeof bytes);
  });
}

void tensor_copy(Call& c) {
  if (!c.instruction.has("global") || c.instruction.parts[4].starts_with("global"))
    fail(std::string("the emulator does not know the instruction ") + c.name());
  Box box;
  std::memcpy(&box.map, c.pointer(1), sizeof box.map);
  const size_t rank = rank_of(c.instruction);
  if (box.map.mark != kTensorMapMark || box.map.rank != rank)
    fail(std::string(c.name()) + ": no tensor map of that rank");
  for (size_t i = 0; i < rank; ++i) box.at[i] = static_cast<int32_t>(c.u32(2 + i));
  const uint32_t address = c.u32(0);
  std::byte* const to = shared_bytes(address, box.bytes(), 1, c.name());
  shared_bytes(address, 16, 128, c.name());
  void* const barrier = mbarrier_at(c.u32(2 + rank), c.name());
  later(block_of(address), [=] {
    box.land(to, address & ((1u << kRankShift) - 1));
    mbarrier_landed(barrier, static_cast<int64_t>(box.bytes()));
  });
}

namespace {

size_t element_bytes(CUtensorMapDataType type) {
  constexpr uint8_t kBytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
  return static_cast<size_t>(type) < sizeof kBytes ? kBytes[type] : 0;
}

}  // namespace

CUresult encode_tiled(CUtensorMap* out, CUtensorMapDataType type, cuuint32_t rank, void* base, const cuuint64_t* sizes,
                      const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* steps,
                      CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion,
                      CUtensorMapFloatOOBfill) {
  TensorMap map{};
  const size_t element = element_bytes(type);
  bool right = element != 0 && rank >= 1 && rank <= 5 && interleave == CU_TENSOR_MAP_INTERLEAVE_NONE &&
               swizzle <= CU_TENSOR_MAP_SWIZZLE_128B && reinterpret_cast<uintptr_t>(base) % 16 == 0 && base != nullptr;
  if (!right) return CUDA_ERROR_INVALID_VALUE;
  map.mark = kTensorMapMark;
  map.base = static_cast<const std::byte*>(base);
  map.rank = static_cast<uint8_t>(rank);
  map.swizzle = static_cast<uint8_t>(swizzle);
  map.strides[0] = element;
  for (cuuint32_t i = 0; i < rank; ++i) {
    map.sizes[i] = sizes[i];
    map.box[i] = static_cast<uint16_t>(box[i]);
    right &= sizes[i] > 0 && sizes[i] <= 1ull << 32 && box[i] > 0 && box[i] <= 256 && steps[i] == 1;
    if (i == 0) continue;
    map.strides[i] = strides[i - 1];
    right &= strides[i - 1] % 16 == 0 && strides[i - 1] < 1ull << 40;
  }
  const size_t inner = box[0] * element;
  right &= inner % 16 == 0;
  if (swizzle != CU_TENSOR_MAP_SWIZZLE_NONE) right &= inner <= size_t{16} << swizzle;
  if (!right) return CUDA_ERROR_INVALID_VALUE;
  std::memset(out, 0, sizeof *out);
  std::memcpy(out, &map, sizeof map);
  return CUDA_SUCCESS;
}

}  // namespace awq::emulated
