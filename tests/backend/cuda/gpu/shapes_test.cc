// That every row of the table is tested with shapes that it takes, and with how many. Needs no GPU.
#include "backend/cuda/gpu/shapes.h"

#include <gtest/gtest.h>

#include <set>

#include "backend/cuda/kernel_rows.h"

namespace awq::backend::cuda::testing {
namespace {

DeviceInfo hopper() {
  DeviceInfo device;
  device.kind = DeviceKind::kCuda;
  device.name = "H200";
  device.capability = 90;
  device.compute_units = 132;
  device.smem_per_block = 232448;
  return device;
}

std::string refusal_of(const KernelTraits& row, const Shape& s) {
  return refusal(row, {.m = s.m, .n = s.n, .k = s.k, .group_size = s.group}, hopper());
}

TEST(Shapes, AreTakenByEveryRow) {
  for (const KernelTraits& row : kCudaRows) {
    const std::vector<Shape> small = taken_by(row, small_shapes()), model = taken_by(row, model_shapes());
    for (const std::vector<Shape>& shapes : {small, model})
      for (const Shape& shape : shapes) EXPECT_EQ(refusal_of(row, shape), "") << row.name << ' ' << to_string(shape);
    EXPECT_GE(small.size(), 40u) << row.name;
    EXPECT_EQ(model.size(), model_shapes().size()) << row.name;
  }
}

TEST(Shapes, StayAsRaggedAsTheyWere) {
  for (const KernelTraits& row : kCudaRows) {
    std::set<int64_t> last_tiles;  // of k, within 128
    for (const Shape& shape : taken_by(row, small_shapes())) last_tiles.insert(shape.k % 128);
    EXPECT_TRUE(last_tiles.count(0) && last_tiles.size() >= 2) << row.name;
    EXPECT_TRUE(row.k_step != 8 || last_tiles.size() >= 4) << row.name;
  }
}

TEST(Shapes, OfARowWithoutLimitsAreAllOfThem) {
  const KernelTraits free{.name = "free", .family = KernelFamily::kGemm, .device = DeviceKind::kCuda};
  EXPECT_EQ(taken_by(free, small_shapes()).size(), small_shapes().size());
}

}  // namespace
}  // namespace awq::backend::cuda::testing
