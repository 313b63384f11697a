// gemm_w4a16_portable: many tokens. A block computes 64 rows x 16, 32 or 64 tokens, with both operands as float32 in
// shared memory, 32 input features at a time; a thread has 4 rows x an eighth of the tokens in registers.
//
// Where n and m give too few blocks to fill the chip, k is split; the parts are added by a second kernel, in order.
//
// Roofline, n = k = 4096, m = 64: 1.07e9 multiply-adds, 8.9 Tflop/s of a GTX 1080 are 240 us; a thread's step of k is
// three 16-byte loads from shared memory against 32 of them, so arithmetic decides. At 16 tokens it is two loads
// against 8, as much time as the arithmetic.
#include <algorithm>
#include <array>

#include "backend/cuda/kernels/portable.cuh"
#include "backend/cuda/kernels/portable.h"

namespace awq::backend::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kStepK = 32;
constexpr int kRowStride = kRowBlock + 4;  // lanes t = 0..3 store to k = 2t: 8 banks apart

template <class T>
struct GemmArgs {
  PortableArgs<T> linear;
  float* partials;  // [splits][m][n], null when k is not split
};

// Geometry of a block of kTokens tokens. A thread's are runs of up to 4, so that 8 lanes read one piece of memory.
template <int kTokens>
struct Block {
  static constexpr int kOfThread = kTokens / 8, kRun = kOfThread < 4 ? kOfThread : 4;
  static constexpr int kUnits = (kTokens * kStepK / 8 + kThreads - 1) / kThreads;  // of 8 input features, a thread
  static constexpr int kStride = kTokens + kRun;  // 2 x 16 tokens of neighbouring units lie in 32 banks

  __device__ static int row() { return threadIdx.x / 8 * 4; }
  __device__ static int token(int j) { return threadIdx.x % 8 * kRun + j % kRun + j / kRun * 8 * kRun; }
};

template <int kTokens>
struct Shared {
  float w[kStepK][kRowStride];               // s * (q - z)
  float x[kStepK][Block<kTokens>::kStride];  // zero beyond k and m
};

// What a thread fetches for 32 input features: its lane's words of the tile `warp`, and units of x.
template <class T, int kTokens>
struct Step {
  using Geometry = Block<kTokens>;
  uint2 words;
  Parameters parameters;
  uint4 x[Geometry::kUnits];

  __device__ static int token(int i) { return (threadIdx.x + i * kThreads) % kTokens; }
  __device__ static int unit(int i) { return (threadIdx.x + i * kThreads) / kTokens; }

  __device__ void fetch(const PortableArgs<T>& p, int64_t first_token, int step) {
    const int lane = threadIdx.x % 32, tile = blockIdx.y * (kRowBlock / kTileRows) + threadIdx.x / 32;
    words = reinterpret_cast<const uint2*>(words_at(p, tile, step / 2, lane))[step % 2];
    parameters = load_parameters(p, tile, step / 2, step % 2, lane);
#pragma unroll
    for (int i = 0; i < Geometry::kUnits; ++i)
      if (unit(i) < kStepK / 8) x[i] = load_unit(p.out, first_token + token(i), int64_t{step} * kStepK + 8 * unit(i));
  }

  __device__ void put(Shared<kTokens>& s) const {
    put_word(s, words.x, 0);
    put_word(s, words.y, 16);
#pragma unroll
    for (int i = 0; i < Geometry::kUnits; ++i) {
      if (unit(i) >= kStepK / 8) continue;
      const uint32_t pairs[4] = {x[i].x, x[i].y, x[i].z, x[i].w};
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float2 pair = unpack_pair(pairs[e], T{});
        s.x[8 * unit(i) + 2 * e][token(i)] = pair.x;
        s.x[8 * unit(i) + 2 * e + 1][token(i)] = pair.y;
      }
    }
  }

  __device__ void put_word(Shared<kTokens>& s, uint32_t word, int first_k) const {
    const RowPair r(parameters);
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, tile = threadIdx.x / 32;
#pragma unroll
    for (int i = 0; i < 8; ++i) {  // nibble i: row g + 8 (i % 2), k 2t + 8 (i / 2 % 2) + i / 4
      const int h = i % 2, k = first_k + 2 * t + 8 * (i / 2 % 2) + i / 4;
      s.w[k][16 * tile + g + 8 * h] = r.scale[h] * r.weight(word, i);
    }
  }
};

// acc[row][token] += w x over 32 input features.
template <int kTokens>
__device__ void multiply(float (&acc)[4][kTokens / 8], const Shared<kTokens>& s) {
  using Geometry = Block<kTokens>;
  struct __align__(Geometry::kRun * 4) Run {
    float v[Geometry::kRun];
  };
#pragma unroll 8
  for (int k = 0; k < kStepK; ++k) {
    const auto w = *reinterpret_cast<const float4*>(&s.w[k][Geometry::row()]);
    const float ws[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
    for (int run = 0; run < Geometry::kOfThread; run += Geometry::kRun) {
      const Run x = *reinterpret_cast<const Run*>(&s.x[k][Geometry::token(run)]);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < Geometry::kRun; ++j) acc[i][run + j] = fmaf(ws[i], x.v[j], acc[i][run + j]);
    }
  }
}

// Four rows of a token with everything that is added to them, rounded.
template <class T>
__device__ void store_rows(const Epilogue<T>& out, int row, int64_t token, const float4& v) {
  const uint2 words = {pack_pair<T>(out.finish(row, token, v.x), out.finish(row + 1, token, v.y)),
                       pack_pair<T>(out.finish(row + 2, token, v.z), out.finish(row + 3, token, v.w))};
  *reinterpret_cast<uint2*>(out.y + token * out.n + row) = words;
}

template <class T, int kTokens>
__device__ void store(const GemmArgs<T>& p, const float (&acc)[4][kTokens / 8], int64_t first_token) {
  const Epilogue<T>& out = p.linear.out;
  const int row = blockIdx.y * kRowBlock + Block<kTokens>::row();
  if (row >= out.n) return;
#pragma unroll
  for (int j = 0; j < kTokens / 8; ++j) {
    const int64_t token = first_token + Block<kTokens>::token(j);
    if (token >= out.m) continue;
    const float4 sums = {acc[0][j], acc[1][j], acc[2][j], acc[3][j]};
    if (p.partials == nullptr)
      store_rows(out, row, token, sums);
    else
      *reinterpret_cast<float4*>(p.partials + (blockIdx.z * out.m + token) * out.n + row) = sums;
  }
}

template <class T, int kTokens>
__global__ void __launch_bounds__(kThreads, 4) gemm_portable(GemmArgs<T> p) {
  __shared__ __align__(16) Shared<kTokens> s;
  const int64_t first_token = int64_t{blockIdx.x} * kTokens, steps = int64_t{p.linear.chunks} * (kTileK / kStepK);
  const int first = static_cast<int>(steps * blockIdx.z / gridDim.z),
            end = static_cast<int>(steps * (blockIdx.z + 1) / gridDim.z);
  float acc[4][kTokens / 8] = {};
  Step<T, kTokens> next;
  next.fetch(p.linear, first_token, first);
  for (int step = first; step < end; ++step) {
    next.put(s);
    __syncthreads();
    if (step + 1 < end) next.fetch(p.linear, first_token, step + 1);
    multiply(acc, s);
    __syncthreads();
  }
  store<T, kTokens>(p, acc, first_token);
}

// Adds the parts of k in their order; a thread has four rows of a token.
template <class T>
__global__ void __launch_bounds__(256) add_parts(GemmArgs<T> p, int splits) {
  const Epilogue<T>& out = p.linear.out;
  const int64_t at = (blockIdx.x * 256ll + threadIdx.x) * 4;
  if (at >= out.m * out.n) return;
  float4 sum = {};
  for (int s = 0; s < splits; ++s) {
    const auto v = *reinterpret_cast<const float4*>(p.partials + s * out.m * out.n + at);
    sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
  }
  store_rows(out, static_cast<int>(at % out.n), at / out.n, sum);
}

// ---- launcher ------------------------------------------------------------------------------------------------------

constexpr int kTokensOf[] = {16, 32, 64};

int size_index(int64_t m) { return m <= 16 ? 0 : m <= 32 ? 1 : 2; }

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Parts of k: as many as bring 4 blocks to every SM, of 256 input features at least.
int64_t splits_of(const LinearArgs& a, const Gpu& gpu) {
  const int64_t blocks = divide_up(a.layout.n, kRowBlock) * divide_up(a.m, kTokensOf[size_index(a.m)]);
  return std::clamp<int64_t>(4 * gpu.sms / blocks, 1, std::max<int64_t>(1, a.layout.padded_k() / 256));
}

size_t gemm_workspace(const LinearArgs& a, const Gpu& gpu) {
  const int64_t splits = splits_of(a, gpu);
  return splits == 1 ? 0 : static_cast<size_t>(splits * a.m * a.layout.n) * sizeof(float);
}

template <class T, int kTokens>
void launch_tokens(const LinearArgs& a, int64_t splits) {
  const GemmArgs<T> args{make_portable_args<T>(a), splits == 1 ? nullptr : static_cast<float*>(a.workspace)};
  const dim3 grid(static_cast<unsigned>(divide_up(a.m, kTokens)),
                  static_cast<unsigned>(divide_up(a.layout.n, kRowBlock)), static_cast<unsigned>(splits));
  gemm_portable<T, kTokens><<<grid, kThreads, 0, a.stream>>>(args);
  if (splits == 1) return;
  add_parts<<<static_cast<unsigned>(divide_up(a.m * a.layout.n, 4 * 256)), 256, 0, a.stream>>>(
      args, static_cast<int>(splits));
}

template <class T>
void launch_gemm(const LinearArgs& a, int64_t splits) {
  static constexpr std::array kBySize{launch_tokens<T, kTokensOf[0]>, launch_tokens<T, kTokensOf[1]>,
                                      launch_tokens<T, kTokensOf[2]>};
  kBySize[size_index(a.m)](a, splits);
}

cudaError_t gemm_launch(const LinearArgs& a, const Gpu& gpu) {
  const int64_t splits = splits_of(a, gpu);
  if (a.layout.chunks() > kMaxChunks || gemm_workspace(a, gpu) > a.workspace_bytes) return cudaErrorInvalidValue;
  a.bf16 ? launch_gemm<__nv_bfloat16>(a, splits) : launch_gemm<__half>(a, splits);
  return cudaGetLastError();
}

}  // namespace

const Launcher kGemmPortable{gemm_workspace, gemm_launch};

}  // namespace awq::backend::cuda
