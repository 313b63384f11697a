// gemm_dequant_cublaslt -- w = T(s * (q - z)) into the workspace, then y = x w' through cuBLASLt; with bias or salient
// channels the sums come out in float32 and a last pass finishes them, so that y is rounded once as in every other row.
//
//   workspace   [ w (n, k) T | cuBLASLt's | sums f32 (m, n), with bias or salient channels only ]
//
// Roofline, n = k = 4096: dequantizing moves 42 MB (9.8 us at 4.31 TB/s, H200), the product reads w again; the
// product's 2 m n k flop pass that at 790 TFLOP/s from m = 230 on. Pays, if at all, where a fused kernel falls short of
// cuBLAS by more than those 9.8 us, and on chips whose fused kernel is the portable one.
#include <algorithm>

#include "backend/cuda/cublaslt.h"
#include "backend/cuda/kernels/epilogue.cuh"
#include "backend/cuda/launchers.h"
#include "backend/cuda/weights_launch.h"

namespace awq::backend::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads) finish_sums(const float* sums, Epilogue<T> epilogue) {
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < epilogue.m * epilogue.n; i += step)
    epilogue.store(static_cast<int>(i % epilogue.n), i / epilogue.n, sums[i]);
}

bool needs_finishing(const LinearArgs& a) { return a.bias != nullptr || a.salient.count != 0; }

struct Parts {
  size_t cublas, sums, end;  // offsets; w is at 0
};
Parts parts(const LinearArgs& a) {
  const auto aligned = [](size_t bytes) { return (bytes + 255) / 256 * 256; };
  const size_t cublas = aligned(static_cast<size_t>(a.layout.n * a.layout.k) * 2), sums = cublas + kCublasLtWorkspace;
  return {cublas, sums, sums + (needs_finishing(a) ? static_cast<size_t>(a.m * a.layout.n) * sizeof(float) : 0)};
}

size_t workspace(const LinearArgs& a, const Gpu&) { return parts(a).end; }

template <class T>
void finish(const LinearArgs& a, const float* sums, const Gpu& gpu) {
  const int64_t blocks = (a.m * a.layout.n + kThreads - 1) / kThreads;
  finish_sums<<<static_cast<unsigned>(std::min<int64_t>(blocks, 16 * gpu.sms)), kThreads, 0, a.stream>>>(
      sums, make_epilogue<T>(a));
}

cudaError_t launch(const LinearArgs& a, const Gpu& gpu) {
  std::byte* space = static_cast<std::byte*>(a.workspace);
  const Parts at = parts(a);
  const TileArrays tiles{a.layout, const_cast<void*>(a.qweight), const_cast<void*>(a.scales),
                         const_cast<void*>(a.zeros)};
  if (const cudaError_t error = dequantize(tiles, a.bf16, space, a.stream); error != cudaSuccess) return error;
  const bool finishing = needs_finishing(a);
  const cudaDataType type = a.bf16 ? CUDA_R_16BF : CUDA_R_16F;
  float* sums = reinterpret_cast<float*>(space + at.sums);
  multiply({.m = a.m,
            .n = a.layout.n,
            .k = a.layout.k,
            .type = type,
            .y_type = finishing ? CUDA_R_32F : type,
            .x = a.x,
            .w = space,
            .y = finishing ? sums : a.y,
            .workspace = space + at.cublas,
            .stream = a.stream});
  if (!finishing) return cudaGetLastError();
  a.bf16 ? finish<__nv_bfloat16>(a, sums, gpu) : finish<__half>(a, sums, gpu);
  return cudaGetLastError();
}

}  // namespace

const Launcher kGemmDequantCublasLt = {workspace, launch};

}  // namespace awq::backend::cuda
