// `awq bench --kernels` on a GPU: kernel rows over shapes and numbers of tokens, cold weights, beside the measured read
// bandwidth, the least time in which a kernel reads these bytes, and fp16 cuBLAS.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "backend/cuda/plugin.h"
#include "bench/cuda_rows.h"

namespace awq::bench {

struct CudaBenchOptions {
  std::vector<LinearShape> shapes;
  std::vector<int64_t> m;  // ascending
  int group = 128;         // -1: one group
  bool bf16 = false;
  bool every_row = false;          // also the rows that neither gemv, gemm nor auto stands for
  bool isolated = false;           // also each launch by itself, after the end of the one before
  std::string commit = "unknown";  // of this build, for the rows
};

struct BenchStep {
  int done = 0, total = 0;
  std::string what;  // "4096x4096, m = 8"
};
// Called before each (shape, m); stops the run by throwing.
using BenchProgress = std::function<void(const BenchStep&)>;

// Bytes of a shape's 4-bit weights, f16 scales and 4-bit zero points.
uint64_t quantized_bytes(const Problem&);

CudaBenchReport measure_kernels(backend::cuda::KernelLab&, const DeviceInfo&, const CudaBenchOptions&,
                                const BenchProgress&);

}  // namespace awq::bench
