// Launcher of gemv_w4a16_mma: the block's shape by the number of rows, so that all blocks run at once where they can.
#include "backend/cuda/kernels/gemv_mma.cuh"

#include "backend/cuda/kernels/launch_kernel.h"
#include "backend/cuda/launchers.h"

namespace awq::backend::cuda {
namespace {

template <class T, class Shape, int kGroups>
cudaError_t launch_shape(const LinearArgs& a, const Gpu& gpu) {
  GemvParams p{};
  p.qweight = static_cast<const uint4*>(a.qweight);
  p.scales = static_cast<const uint32_t*>(a.scales);
  p.zeros = static_cast<const uint8_t*>(a.zeros);
  p.m = static_cast<int>(a.m);
  p.k = static_cast<int>(a.layout.k);
  p.chunks = static_cast<int>(a.layout.chunks());
  p.groups = static_cast<int>(a.layout.groups());
  p.unit_to_group = unit_to_group(a.layout);
  const dim3 grid(static_cast<unsigned>(a.layout.row_tiles() / Shape::kTiles));
  return launch_kernel(gemv_w4a16_mma<T, Shape, kGroups>, grid, Shape::kThreads, Shape::smem(p.m), a.stream,
                       gpu.capability >= 90, p, make_epilogue<T>(a));
}

// One wave of blocks of 16 rows, of 32 rows, or two of 32 rows an SM: in that order the quickest where they fit (H200;
// of 4 to 16 warps, 1 to 4 tiles, loads of 1 to 4 units in flight). Small groups need the registers of the second load.
template <class T, int kGroups>
cudaError_t launch_groups(const LinearArgs& a, const Gpu& gpu) {
  constexpr int kDepth = kGroups == 1 ? 2 : 1;
  using Low = GemvShape<16, 1, 2, 2, 1>;
  using Wide = GemvShape<16, 2, kDepth, 2, 1>;
  using Narrow = GemvShape<8, 2, kDepth, 2, 2>;
  if (Wide::smem(static_cast<int>(a.m)) <= static_cast<size_t>(gpu.smem_per_block)) {
    if (a.layout.row_tiles() <= gpu.sms) return launch_shape<T, Low, kGroups>(a, gpu);
    if (a.layout.row_tiles() <= 2 * gpu.sms) return launch_shape<T, Wide, kGroups>(a, gpu);
  }
  return launch_shape<T, Narrow, kGroups>(a, gpu);
}

template <class T>
cudaError_t launch(const LinearArgs& a, const Gpu& gpu) {
  if (a.layout.group >= kPadK || a.layout.group == a.layout.k) return launch_groups<T, 1>(a, gpu);
  return a.layout.group == 64 ? launch_groups<T, 2>(a, gpu) : launch_groups<T, 4>(a, gpu);
}

size_t no_workspace(const LinearArgs&, const Gpu&) { return 0; }

cudaError_t launch_gemv(const LinearArgs& a, const Gpu& gpu) {
  return a.bf16 ? launch<__nv_bfloat16>(a, gpu) : launch<__half>(a, gpu);
}

}  // namespace

// One source: the body of 7.5 multiplies 8 of k at a time (fragments.cuh: mma).
const Launcher kGemvMmaSm80 = {no_workspace, launch_gemv}, kGemvMmaSm75 = {no_workspace, launch_gemv};

}  // namespace awq::backend::cuda
