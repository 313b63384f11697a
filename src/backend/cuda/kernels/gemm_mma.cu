// gemm_mma's kernels and their launchers: one table of blocks a chip, the plan chosen by gemm_mma_tiles.cc.
#include "backend/cuda/kernels/gemm_mma.h"

#include <array>
#include <iterator>
#include <utility>

#include "backend/cuda/kernels/gemm_mma.cuh"

namespace awq::backend::cuda {

// A chip's blocks and their costs, and the oldest compute capability that has all that its kernels use.
struct MmaSm80 {
  static constexpr int kCapability = 80;
  static constexpr auto& kTiles = kMmaTilesSm80;
  static constexpr auto& kCosts = kMmaCostsSm80;
};
struct MmaSm75 {
  static constexpr int kCapability = 75;
  static constexpr auto& kTiles = kMmaTilesSm75;
  static constexpr auto& kCosts = kMmaCostsSm75;
};

template <class Block, class T>
__device__ void run_gemm_mma(const GemmMmaArgs<T>& p) {
  extern __shared__ __align__(128) char smem[];
  Block block(p, smem);
  block.run();
  block.add_warps();
  block.store();
}

template <class Chip, class T, int kIndex>
struct GemmMmaKernel {
  using Block = GemmMmaBlock<Chip, T, Chip::kTiles[kIndex]>;
};

// The tile is given as an index: nvcc 13.0's host stub cannot name a struct that is a template argument of a kernel.
template <class Chip, class T, int kIndex>
__global__ void __launch_bounds__(Chip::kTiles[kIndex].threads(), Chip::kTiles[kIndex].resident)
    gemm_mma(const __grid_constant__ GemmMmaArgs<T> p) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  if constexpr (Chip::kCapability >= 80)
    return;  // never launched: see prepare()
  else
#endif
    run_gemm_mma<typename GemmMmaKernel<Chip, T, kIndex>::Block>(p);
}

// Adds the partial sums of the splits, in their order; a warp a fragment of 16 rows x 8 tokens.
template <class T>
__global__ void __launch_bounds__(256) add_splits(const __grid_constant__ GemmMmaArgs<T> p, int splits) {
  const int64_t fragments = int64_t{p.row_tiles} * p.token_tiles, fragment = (blockIdx.x * 256ll + threadIdx.x) / 32;
  if (fragment >= fragments) return;
  const float4* partial = p.partials + fragment * 32 + threadIdx.x % 32;
  float acc[1][4] = {};
  for (int s = 0; s < splits; ++s, partial += fragments * 32) {
    const float4 v = *partial;
    acc[0][0] += v.x, acc[0][1] += v.y, acc[0][2] += v.z, acc[0][3] += v.w;
  }
  p.out.store_fragments(static_cast<int>(fragment / p.token_tiles * kTileRows), fragment % p.token_tiles * 8, acc);
}

namespace {

template <class Chip>
MmaPlan plan_of(const LinearArgs& a, const Gpu& gpu) {
  return plan_gemm_mma(Chip::kTiles, Chip::kCosts, a.layout, a.m, gpu);
}

size_t partial_bytes(const LinearArgs& a, const MmaPlan& plan) {
  if (plan.splits == 1) return 0;
  return static_cast<size_t>(plan.splits * a.layout.row_tiles() * ((a.m + 7) / 8)) * 32 * sizeof(float4);
}

template <class Chip>
size_t gemm_mma_workspace(const LinearArgs& a, const Gpu& gpu) {
  return partial_bytes(a, plan_of<Chip>(a, gpu));
}

template <class T>
GemmMmaArgs<T> make_args(const LinearArgs& a, const MmaPlan& plan) {
  return {.out = make_epilogue<T>(a),
          .qweight = static_cast<const uint4*>(a.qweight),
          .scales = static_cast<const uint2*>(a.scales),
          .zeros = static_cast<const uint2*>(a.zeros),
          .partials = plan.splits > 1 ? static_cast<float4*>(a.workspace) : nullptr,
          .groups_of = make_chunk_groups(a.layout),
          .groups = static_cast<int>(a.layout.groups()),
          .chunks = static_cast<int>(a.layout.chunks()),
          .row_tiles = static_cast<int>(a.layout.row_tiles()),
          .token_tiles = static_cast<int>((a.m + 7) / 8)};
}

// A build without code for `capability` must refuse rather than run an empty kernel.
template <class Kernel>
cudaError_t prepare(Kernel* kernel, int capability, int smem) {
  cudaFuncAttributes attributes;
  if (const cudaError_t e = cudaFuncGetAttributes(&attributes, kernel); e != cudaSuccess) return e;
  if (attributes.ptxVersion < capability) return cudaErrorNoKernelImageForDevice;
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, smem);
}

template <class Chip, class T, int kIndex>
cudaError_t launch_tile(const LinearArgs& a, const MmaPlan& plan) {
  constexpr MmaTile kTile = Chip::kTiles[kIndex];
  const auto kernel = gemm_mma<Chip, T, kIndex>;
  if (const cudaError_t e = prepare(kernel, Chip::kCapability, kTile.smem_bytes()); e != cudaSuccess) return e;
  const auto args = make_args<T>(a, plan);
  const dim3 grid(static_cast<unsigned>((a.m + kTile.tokens() - 1) / kTile.tokens()),
                  static_cast<unsigned>((a.layout.n + kTile.rows() - 1) / kTile.rows()),
                  static_cast<unsigned>(plan.splits));
  kernel<<<grid, kTile.threads(), kTile.smem_bytes(), a.stream>>>(args);
  if (plan.splits > 1) {
    const int64_t blocks = (int64_t{args.row_tiles} * args.token_tiles + 7) / 8;
    add_splits<T><<<static_cast<unsigned>(blocks), 256, 0, a.stream>>>(args, plan.splits);
  }
  return cudaGetLastError();
}

template <class Chip, class T, size_t... kIndex>
constexpr auto launch_table(std::index_sequence<kIndex...>) {
  return std::array{&launch_tile<Chip, T, static_cast<int>(kIndex)>...};
}

template <class Chip, class T>
cudaError_t launch_plan(const LinearArgs& a, const MmaPlan& plan) {
  static constexpr auto kTable = launch_table<Chip, T>(std::make_index_sequence<std::size(Chip::kTiles)>{});
  return kTable[plan.tile](a, plan);
}

template <class Chip>
cudaError_t gemm_mma_launch(const LinearArgs& a, const Gpu& gpu) {
  if (a.layout.chunks() > kMaxChunks) return cudaErrorInvalidValue;
  const MmaPlan plan = plan_of<Chip>(a, gpu);
  if (partial_bytes(a, plan) > a.workspace_bytes) return cudaErrorInvalidValue;
  if constexpr (Chip::kCapability >= 80)
    if (a.bf16) return launch_plan<Chip, __nv_bfloat16>(a, plan);
  return a.bf16 ? cudaErrorNotSupported : launch_plan<Chip, __half>(a, plan);
}

}  // namespace

const Launcher kGemmMmaSm80{gemm_mma_workspace<MmaSm80>, gemm_mma_launch<MmaSm80>};
const Launcher kGemmMmaSm75{gemm_mma_workspace<MmaSm75>, gemm_mma_launch<MmaSm75>};

}  // namespace awq::backend::cuda
