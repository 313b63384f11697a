// A report measured on a GPU that is made up.
#pragma once
#include "bench/kernels_cuda.h"
#include "fake_lab.h"

namespace awq::bench {

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
