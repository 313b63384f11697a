// What a kernel's launcher receives: raw pointers, checked by c_api.cu before any launcher runs.
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "backend/cuda/tile_layout.h"

namespace awq::backend::cuda {

struct Salient {
  int count = 0;
  const int32_t* index = nullptr;  // (count)
  const void* delta = nullptr;     // f16 (count, n)
};

struct LinearArgs {
  TileLayout layout;  // n, k, group
  int64_t m = 0;
  bool bf16 = false;        // type of x and y; else f16
  const void* x = nullptr;  // (m, k)
  void* y = nullptr;        // (m, n); gated: (m, n / 2)
  // Rows of gate and up come eight in turn (run/host_linear.h), n is a multiple of 16, and y = silu(gate) up.
  bool gated = false;
  const void *qweight = nullptr, *scales = nullptr, *zeros = nullptr;
  const void* bias = nullptr;  // f16 (n) or null
  Salient salient;
  void* workspace = nullptr;
  size_t workspace_bytes = 0;
  cudaStream_t stream = nullptr;
};

// Limits of the device that launch geometry depends on; read once a call (cudaDeviceGetAttribute is a table lookup).
struct Gpu {
  int capability = 0;  // x 10, of the code that runs there
  int sms = 0;
  int smem_per_block = 0;  // opt-in, bytes
};

// A kernel: `workspace` gives the bytes that `launch` will use of the workspace. Both are pure functions of their
// arguments.
struct Launcher {
  size_t (*workspace)(const LinearArgs&, const Gpu&);
  cudaError_t (*launch)(const LinearArgs&, const Gpu&);
  bool gates = false;  // takes LinearArgs::gated
};

}  // namespace awq::backend::cuda
