// cp.async.bulk and st.async: copies that an mbarrier counts the bytes of. They land as late as they may: when every
// thread waits. And those out of shared memory, which their thread waits for.
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
    for_each_row([&](size_t done, const Row& row) {
      std::array<std::byte, 2048> bytes{};
      if (row.size > 0) std::memcpy(bytes.data() + row.skipped, row.tensor, row.size);
      for (size_t unit = 0; unit < row_bytes(); unit += 16)
        std::memcpy(to + swizzled(address, done + unit), bytes.data() + unit, 16);
    });
  }
  // The other way: outside the tensor nothing is written.
  void leave(const std::byte* from, uint32_t address) const {
    for_each_row([&](size_t done, const Row& row) {
      std::array<std::byte, 2048> bytes{};
      for (size_t unit = 0; unit < row_bytes(); unit += 16)
        std::memcpy(bytes.data() + unit, from + swizzled(address, done + unit), 16);
      if (row.size > 0) std::memcpy(row.tensor, bytes.data() + row.skipped, row.size);
    });
  }

 private:
  struct Row {  // what the tensor has of it
    std::byte* tensor;
    size_t skipped, size;  // bytes
  };

  size_t row_bytes() const { return map.box[0] * map.strides[0]; }
  template <class Do>
  void for_each_row(const Do& act) const {
    uint32_t i[5] = {};
    for (size_t done = 0; done < bytes(); done += row_bytes()) {
      act(done, row(i));
      for (int axis = 1; axis < map.rank && ++i[axis] == map.box[axis]; ++axis) i[axis] = 0;
    }
  }
  Row row(const uint32_t (&i)[5]) const {
    std::byte* start = map.base;
    bool inside = true;
    for (int axis = 1; axis < map.rank; ++axis) {
      const int64_t c = at[axis] + i[axis];
      inside &= c >= 0 && static_cast<uint64_t>(c) < map.sizes[axis];
      start += c * static_cast<int64_t>(map.strides[axis]);
    }
    const auto element = static_cast<int64_t>(map.strides[0]);
    const int64_t first = std::max<int64_t>(0, -at[0]);
    const int64_t last = std::min<int64_t>(map.box[0], static_cast<int64_t>(map.sizes[0]) - at[0]);
    if (!inside || first >= last) return {start, 0, 0};
    return {start + (at[0] + first) * element, static_cast<size_t>(first * element),
            static_cast<size_t>((last - first) * element)};
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

// The operand `map` and the coordinates after it.
Box box_of(const Call& c, size_t map) {
  Box box;
  std::memcpy(&box.map, c.pointer(map), sizeof box.map);
  const size_t rank = rank_of(c.instruction);
  if (box.map.mark != kTensorMapMark || box.map.rank != rank)
    fail(std::string(c.name()) + ": no tensor map of that rank");
  for (size_t i = 0; i < rank; ++i) box.at[i] = static_cast<int32_t>(c.u32(map + 1 + i));
  return box;
}

// Reads shared memory when the thread waits for it, and not before.
void tensor_store(Call& c) {
  const Box box = box_of(c, 0);
  const uint32_t address = c.u32(1 + box.map.rank);
  const std::byte* const from = shared_bytes(address, box.bytes(), 1, c.name());
  shared_bytes(address, 16, 128, c.name());
  current->stores.emplace_back([=] { box.leave(from, address & ((1u << kRankShift) - 1)); });
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
  if (c.instruction.parts[5] == "global") return tensor_store(c);
  if (!c.instruction.has("global")) fail(std::string("the emulator does not know the instruction ") + c.name());
  const Box box = box_of(c, 1);
  const size_t rank = box.map.rank;
  const uint32_t address = c.u32(0);
  std::byte* const to = shared_bytes(address, box.bytes(), 1, c.name());
  shared_bytes(address, 16, 128, c.name());
  void* const barrier = mbarrier_at(c.u32(2 + rank), c.name());
  later(block_of(address), [=] {
    box.land(to, address & ((1u << kRankShift) - 1));
    mbarrier_landed(barrier, static_cast<int64_t>(box.bytes()));
  });
}

void commit_stores(Call&) {
  current->store_groups.push_back(std::move(current->stores));
  current->stores.clear();
}
void wait_for_stores(Call& c) {
  auto& groups = current->store_groups;
  for (; groups.size() > c.u32(0); groups.erase(groups.begin()))
    for (const auto& read : groups.front()) read();
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
  map.base = static_cast<std::byte*>(base);
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
