// The problems of the GPU tests: every edge of the tiles in small, and what models have.
#pragma once
#include <algorithm>
#include <numeric>
#include <tuple>

#include "awq/cuda.h"
#include "backend/cuda/gpu/device_case.h"
#include "backend/kernel_table.h"

namespace awq::backend::cuda::testing {

// m around every tile of tokens; n and k with and without whole tiles; k of one and of several groups, and one group
// that ends within a tile.
inline std::vector<Shape> small_shapes() {
  std::vector<Shape> all;
  for (const int group : {32, 64, 128, 384})
    for (const int64_t m : {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 100, 128, 200, 257})
      all.push_back({m, 136, 384, group});
  for (const int64_t n : {8, 24, 72, 1000})
    for (const int64_t m : {3, 20}) all.push_back({m, n, 256, 64});
  for (const int64_t m : {1, 5, 40}) {
    all.push_back({m, 72, 96, 32});
    all.push_back({m, 72, 128, 128});
    all.push_back({m, 72, 160, 32});
    all.push_back({m, 72, 4160, 64});
    all.push_back({m, 72, 136, 136});  // one group for all of k: the last tile of k is part padding with a scale
    all.push_back({m, 72, 8, 8});
  }
  for (const int group : {256, 384, 768})
    for (const int64_t m : {2, 33, 130}) all.push_back({m, 64, 768, group});
  return all;
}

inline std::vector<Shape> model_shapes() {
  return {{1, 4096, 4096, 128},  {8, 1024, 4096, 128},  {16, 4096, 1024, 64},
          {5, 2048, 11008, 128}, {48, 2560, 1024, 128}, {300, 2560, 512, 128}};
}

// The shape that a row takes in the place of `shape`: no more tokens than it may have, and the next k that is a
// multiple of its step and of the group. 160 in groups of 32 becomes 192 where the step is 64: as ragged within 128 as
// it was.
inline Shape nearest_taken(const KernelTraits& row, Shape shape) {
  const bool one_group = shape.group == shape.k;
  const int64_t step = one_group ? row.k_step : std::lcm(int64_t{row.k_step}, int64_t{shape.group});
  shape.m = std::min(shape.m, row.m_max);
  shape.k = (shape.k + step - 1) / step * step;
  if (one_group) shape.group = static_cast<int>(shape.k);
  return shape;
}

// Each once. Nothing is left out, so no row is tested with less than `shapes`; shapes_test.cc says with how many.
inline std::vector<Shape> taken_by(const KernelTraits& row, const std::vector<Shape>& shapes) {
  const auto sizes = [](const Shape& s) { return std::tie(s.m, s.n, s.k, s.group); };
  std::vector<Shape> taken;
  for (const Shape& shape : shapes) {
    const Shape nearest = nearest_taken(row, shape);
    const auto same = [&](const Shape& s) { return sizes(s) == sizes(nearest); };
    if (std::none_of(taken.begin(), taken.end(), same)) taken.push_back(nearest);
  }
  return taken;
}

// Numbers of x that `type` holds exactly.
inline void round_x(Case& c, awq_cuda_type type) {
  for (float& x : c.x) x = from_bits(to_bits(x, type), type);
}

// With bias and salient channels in every second shape.
inline Case random_case(const Shape& shape, Zeros zeros, awq_cuda_type type) {
  const bool extras = (shape.m + shape.k / 8) % 2 == 0;
  Case c = normal_case(shape, zeros, extras ? 0.05 : 0, extras);
  round_x(c, type);
  return c;
}

// x = +-(1 + i / 1024) (bf16: i / 128), q = z + {-3 .. 3}, s = 1: sums are multiples of 2^-10 below 2^11 for k <= 256.
inline Case wide_exact_case(const Shape& shape, awq_cuda_type type) {
  Case c = empty_case(shape);
  std::mt19937 random(3);
  const int steps = type == AWQ_CUDA_BF16 ? 128 : 1024;
  std::fill(c.linear.zeros.begin(), c.linear.zeros.end(), uint8_t{7});
  std::fill(c.linear.scales.begin(), c.linear.scales.end(), f32_to_f16(1.f));
  for (uint8_t& q : c.linear.q) q = static_cast<uint8_t>(4 + random() % 7);
  for (float& x : c.x)
    x = (random() % 2 ? 1.f : -1.f) * (1.f + static_cast<float>(random() % steps) / static_cast<float>(steps));
  return c;
}

}  // namespace awq::backend::cuda::testing
