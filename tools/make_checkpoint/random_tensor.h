// Normally distributed 16-bit weights that are the same on every machine and for any number of threads.
//
//   element i = table[16 bits],   bits = lane i % 4 of mix64(key(seed, tensor) ^ i / 4)
//   table[b]  = round(mean + std * quantile((b + 0.5) / 65536)),   rows that are outliers: gain times that
//
// No state runs from one element to the next, so any piece can be made by itself. The 65,536 values are equally
// likely; the largest lies 4.3 standard deviations out.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/thread_pool.h"

namespace awq::tools {

// 1e-11 < p < 1 - 1e-11; to 2e-7 of itself. Without libm, whose last bits differ between systems.
double normal_quantile(double p);

uint64_t random_key(uint64_t seed, std::string_view name);

// `count` different numbers below `channels`, ascending.
std::vector<int64_t> choose_channels(uint64_t key, int64_t channels, int64_t count);

struct RandomTensor {
  uint64_t key = 0;
  Dtype dtype = Dtype::kBF16;  // or kF16
  double mean = 0, std = 0;
  int64_t rows = 0, columns = 1;
  std::vector<int64_t> outlier_rows = {};  // ascending
  double outlier_gain = 1;
};

class TensorFiller {
 public:
  explicit TensorFiller(const RandomTensor&);
  void fill(ThreadPool&, int64_t first, std::span<uint16_t> out) const;  // elements first, first + 1, ... of the tensor

 private:
  void fill_piece(int64_t first, std::span<uint16_t> out) const;
  uint64_t key_;
  int64_t columns_;
  std::vector<bool> is_outlier_;          // a row
  std::vector<uint16_t> plain_, louder_;  // by 16 random bits
};

}  // namespace awq::tools
