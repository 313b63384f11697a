// A GPU whose kernels take times that are known in advance: for everything around the measuring.
#pragma once
#include <functional>
#include <map>
#include <string>

#include "awq/devices.h"
#include "awq/error.h"
#include "backend/cuda/plugin.h"

namespace awq::bench {

class FakeLab final : public backend::cuda::KernelLab {
 public:
  static constexpr double kBandwidth = 4e12;  // bytes a second

  static double floor_us(const Problem& p) {
    const double groups = static_cast<double>(p.n * p.k) / p.group_size;
    return (static_cast<double>(p.n * p.k) / 2 + groups * 2.5) / kBandwidth * 1e6;
  }

  // Bytes at the bandwidth; gemv adds m microseconds, gemm 10 whatever m is: equal at m = 10.
  std::function<double(std::string_view row, const Problem&)> us = [](std::string_view row, const Problem& p) {
    return floor_us(p) + (row.starts_with("gemv") ? static_cast<double>(p.m) : 10.0);
  };
  std::function<double(std::string_view row, const Problem&)> error = [](auto, const Problem&) { return 2e-4; };
  bool has_cublas = true;
  std::map<std::string, int, std::less<>> timed;  // calls of time_row by row name

  double read_bandwidth() override { return kBandwidth; }
  double read_floor_us(uint64_t bytes) override { return static_cast<double>(bytes) / kBandwidth * 1e6; }
  backend::cuda::Samples time_row(std::string_view row, const Problem& p,
                                  const backend::cuda::LabOptions& options) override {
    ++timed[std::string(row)];
    return around(us(row, p) + (options.dependent_launch ? 0 : 1));
  }
  backend::cuda::Samples time_fp16_gemm(const Problem& p, const backend::cuda::LabOptions&) override {
    if (!has_cublas) throw Error(ErrorKind::kDevice, "cannot open libcublasLt.so.13");
    return around(2e6 * static_cast<double>(p.n * p.k) / kBandwidth + 8);
  }
  double relative_error(std::string_view row, const Problem& p) override { return error(row, p); }
  bool bit_identical(std::string_view, const Problem&, int) override { return true; }

 private:
  // Unsorted, with `us` as the median and 10 % to each side.
  static backend::cuda::Samples around(double us) { return {{1.1 * us, us, 0.9 * us}, 1980}; }
};

}  // namespace awq::bench
