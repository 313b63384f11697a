// A GPU whose kernels take times that are known in advance: for everything around the measuring.
#pragma once
#include <functional>
#include <map>
#include <string>

#include "awq/devices.h"
#include "awq/error.h"
#include "backend/cuda/plugin.h"
#include "bench/kernels_cuda.h"

namespace awq::bench {

class FakeLab final : public backend::cuda::KernelLab {
 public:
  static constexpr double kBandwidth = 4e12;  // bytes a second

  // Bytes at the bandwidth; gemv adds m microseconds, gemm 10 whatever m is: equal at m = 10.
  std::function<double(std::string_view row, const Problem&)> us = [](std::string_view row, const Problem& p) {
    const double floor = static_cast<double>(quantized_bytes(p)) / kBandwidth * 1e6;
    return floor + (row.starts_with("gemv") ? static_cast<double>(p.m) : 10.0);
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

inline DeviceInfo fake_gpu() {
  DeviceInfo gpu;
  gpu.kind = DeviceKind::kCuda;
  gpu.name = "Fake <H200> & Co";
  gpu.architecture = "Hopper";
  gpu.capability = 90;
  gpu.compute_units = 132;
  gpu.smem_per_block = 227 << 10;
  gpu.memory_bytes = uint64_t{139} << 30;
  gpu.last_cache_bytes = 60 << 20;
  gpu.driver_version = "580.1";
  return gpu;
}

inline CudaBenchOptions small_options() {
  CudaBenchOptions options;
  options.shapes = parse_shapes("4096x4096,1024x2048");
  options.m = {1, 4, 16, 64};
  options.commit = "abc1234";
  return options;
}

inline CudaBenchReport fake_report(const CudaBenchOptions& options = small_options()) {
  FakeLab lab;
  return measure_kernels(lab, fake_gpu(), options, [](const BenchStep&) {});
}

}  // namespace awq::bench
