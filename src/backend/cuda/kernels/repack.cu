// repack, unrepack -- q, scales and zero points between a checkpoint's layout and the tile layout, exactly.
//
// The tile layout is drawn in tile_layout.h, the layouts of files in src/format/{gemm,gemv,gemv_fast}.cc. A thread
// makes the 16 bytes that one lane of a kernel will load: 32 codes, rows g and g + 8 of a tile, k in runs of two.
//
// Padding holds q = z and s = 0, so that it adds exactly zero; where one group spans all of k, columns beyond k lie in
// a group with a scale, and q = z alone makes them nothing.
//
// Roofline: n k / 2 bytes in, as many out: 16.8 MB for 4096 x 4096, 4 us at 4.3 TB/s. Codes are gathered one at a time
// and the words they come from are found in L1 (a sector is read by the four warps of 64 rows), so this runs at the
// rate of L1 and not of memory: once a load, after reading the same bytes from a disk a hundred times slower.
#include <cuda_fp16.h>

#include "backend/cuda/kernels/tile_lane.cuh"
#include "backend/cuda/weights_launch.h"

namespace awq::backend::cuda {
namespace {

constexpr int kThreads = 256;
// Blocks that a multiprocessor has room for, at least. Left to choose, ptxas takes 32 registers for 10.0, and spills.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ / 10 == 100
constexpr int kLeastBlocks = 4;
#else
constexpr int kLeastBlocks = 0;
#endif

// One struct a file layout: code (row, col), zero point and scale (row, group). Sizes are those of the linear.
struct PlainFile {
  const uint8_t *q, *zeros;
  const __half* scales;
  int64_t n, k, groups;
  __device__ int code(int64_t row, int64_t col) const { return q[row * k + col] & 15; }
  __device__ int zero(int64_t row, int64_t g) const { return zeros[row * groups + g] & 15; }
  __device__ __half scale(int64_t row, int64_t g) const { return scales[row * groups + g]; }
};

struct GemmFile {
  const uint32_t *q, *zeros;
  const __half* scales;
  int64_t n, k, groups;
  // Feature 8c + i sits in nibble 0 4 1 5 2 6 3 7 [i]: even features low, odd ones high.
  __device__ static int place(int64_t row) { return static_cast<int>(row % 8 / 2 + row % 2 * 4); }
  __device__ int code(int64_t row, int64_t col) const { return nibble(q[col * (n / 8) + row / 8], place(row)); }
  __device__ int zero(int64_t row, int64_t g) const { return nibble(zeros[g * (n / 8) + row / 8], place(row)); }
  __device__ __half scale(int64_t row, int64_t g) const { return scales[g * n + row]; }
};

struct GemvFile {
  const uint32_t *q, *zeros;
  const __half* scales;
  int64_t n, k, padded_groups;
  __device__ int code(int64_t row, int64_t col) const { return nibble(q[row * (k / 8) + col / 8], col % 8); }
  __device__ int zero(int64_t row, int64_t g) const {
    return nibble(zeros[row * (padded_groups / 8) + g / 8], static_cast<int>(g % 8));
  }
  __device__ __half scale(int64_t row, int64_t g) const { return scales[row * padded_groups + g]; }
};

struct GemvFastFile {
  const uint16_t* q;
  const __half *offsets, *scales;  // offset = -scale * zero point, rounded to f16
  int64_t n, k;
  __device__ int code(int64_t row, int64_t col) const {
    const int64_t in_tile = row % 4 * 16 + col % 64 / 32 * 8 + col % 8;
    return nibble(q[row / 4 * k + col / 64 * 64 + in_tile], static_cast<int>(col % 32 / 8));
  }
  // Exact for scale and offset that a writer derived from a zero point (gemv_fast.cc has the proof); anything else is
  // clamped, so that damage cannot spill into a neighbour.
  __device__ int zero(int64_t row, int64_t g) const {
    const float s = __half2float(scales[g * n + row]), o = __half2float(offsets[g * n + row]);
    if (s == 0.f && o == 0.f) return 0;
    return static_cast<int>(fminf(fmaxf(rintf(__fdiv_rn(-o, s)), 0.f), 15.f));
  }
  __device__ __half scale(int64_t row, int64_t g) const { return scales[g * n + row]; }
};

// Several files of a kind as one (JoinedSource).
template <class File>
struct Joined {
  File part[kMostJoined];
  int64_t end[kMostJoined];  // rows of the parts up to and with this one
  int in_turn;

  __device__ const File& of(int64_t& row) const {
    if (in_turn > 0) {
      const int64_t pair = row / (2 * in_turn), rest = row % (2 * in_turn);
      row = pair * in_turn + rest % in_turn;
      return part[rest / in_turn];
    }
    int p = 0;
    while (p + 1 < kMostJoined && row >= end[p]) ++p;
    if (p > 0) row -= end[p - 1];
    return part[p];
  }
  __device__ int code(int64_t row, int64_t col) const {
    const File& file = of(row);
    return file.code(row, col);
  }
  __device__ int zero(int64_t row, int64_t g) const {
    const File& file = of(row);
    return file.zero(row, g);
  }
  __device__ __half scale(int64_t row, int64_t g) const {
    const File& file = of(row);
    return file.scale(row, g);
  }
};

// The code at (row, col) of the padded matrix.
template <class File>
__device__ int padded_code(const File& from, const TileLayout& to, int64_t row, int64_t col) {
  if (row >= to.n) return 0;
  if (col < to.k) return from.code(row, col);
  return to.groups() == 1 ? from.zero(row, 0) : 0;
}

template <class File>
__global__ void __launch_bounds__(kThreads, kLeastBlocks) repack_codes(File from, TileLayout to, uint4* q) {
  const int64_t lane_index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (lane_index >= lane_count(to)) return;
  const Place first = lane_place(to, lane_index);
  uint32_t words[kLaneWords] = {};
#pragma unroll
  for (int step = 0; step < kLaneWords; ++step)
#pragma unroll
    for (int i = 0; i < kWordCodes; ++i) {
      const Place at = nibble_place(first, step, i);
      words[step] |= static_cast<uint32_t>(padded_code(from, to, at.row, at.col)) << (4 * i);
    }
  q[lane_index] = make_uint4(words[0], words[1], words[2], words[3]);
}

// A thread: rows r and r + 8 of a tile, one group: a byte of zero points and two scales.
template <class File>
__global__ void __launch_bounds__(kThreads) repack_groups(File from, TileLayout to, __half2* scales, uint8_t* zeros) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= pair_count(to)) return;
  const auto [row, g] = pair_place(to, index);
  const int groups = static_cast<int>(to.k) / to.group;
  const auto stored = [&, g = g](int64_t r) { return r < to.n && g < groups; };
  const auto zero = [&, g = g](int64_t r) { return stored(r) ? from.zero(r, g) : 0; };
  const auto scale = [&, g = g](int64_t r) { return stored(r) ? from.scale(r, g) : __half(0.f); };
  scales[index] = __halves2half2(scale(row), scale(row + 8));
  zeros[index] = static_cast<uint8_t>(zero(row) | zero(row + 8) << 4);
}

__global__ void __launch_bounds__(kThreads) unrepack_codes(const uint4* q, TileLayout from, uint8_t* to) {
  const int64_t lane_index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (lane_index >= lane_count(from)) return;
  const Place first = lane_place(from, lane_index);
  const uint4 loaded = q[lane_index];
  const uint32_t words[kLaneWords] = {loaded.x, loaded.y, loaded.z, loaded.w};
#pragma unroll
  for (int step = 0; step < kLaneWords; ++step)
#pragma unroll
    for (int i = 0; i < kWordCodes; ++i) {
      const Place at = nibble_place(first, step, i);
      if (at.row < from.n && at.col < from.k)
        to[at.row * from.k + at.col] = static_cast<uint8_t>(nibble(words[step], i));
    }
}

__global__ void __launch_bounds__(kThreads) unrepack_groups(TileLayout from, const __half* scales, const uint8_t* zeros,
                                                            uint8_t* plain_zeros, __half* plain_scales) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int groups = static_cast<int>(from.k) / from.group;
  if (index >= from.n * groups) return;
  const int64_t row = static_cast<uint32_t>(index) / groups, g = static_cast<uint32_t>(index) % groups;
  plain_scales[index] = scales[from.scale(row, g)];
  plain_zeros[index] = zeros[from.zero_byte(row, g)] >> TileLayout::zero_shift(row) & 15;
}

unsigned blocks_for(int64_t threads) { return static_cast<unsigned>((threads + kThreads - 1) / kThreads); }

template <class File>
cudaError_t repack_from(const File& from, const TileArrays& to, cudaStream_t stream) {
  const TileLayout& layout = to.layout;
  repack_codes<<<blocks_for(lane_count(layout)), kThreads, 0, stream>>>(from, layout, static_cast<uint4*>(to.qweight));
  repack_groups<<<blocks_for(pair_count(layout)), kThreads, 0, stream>>>(from, layout, static_cast<__half2*>(to.scales),
                                                                         static_cast<uint8_t*>(to.zeros));
  return cudaGetLastError();
}

template <class T>
const T* as(const void* pointer) {
  return static_cast<const T*>(pointer);
}

// file_of(source, n): how the struct of the layout is made.
template <class FileOf>
cudaError_t repack_joined(const JoinedSource& from, const TileArrays& to, cudaStream_t stream, const FileOf& file_of) {
  if (from.parts == 1) return repack_from(file_of(from.part[0], to.layout.n), to, stream);
  Joined<decltype(file_of(from.part[0], int64_t{0}))> files{};
  files.in_turn = from.rows_in_turn;
  for (int p = 0; p < kMostJoined; ++p) {
    const bool there = p < from.parts;
    if (there) files.part[p] = file_of(from.part[p], from.rows[p]);
    files.end[p] = (p > 0 ? files.end[p - 1] : 0) + (there ? from.rows[p] : 0);
  }
  return repack_from(files, to, stream);
}

}  // namespace

cudaError_t repack(const JoinedSource& from, int64_t padded_groups, const TileArrays& to, cudaStream_t stream) {
  const int64_t k = to.layout.k, groups = k / to.layout.group;
  const awq_cuda_source& one = from.part[0];
  switch (one.layout) {
    case AWQ_CUDA_LAYOUT_PLAIN:
      if (from.parts > 1) break;
      return repack_from(
          PlainFile{as<uint8_t>(one.qweight), as<uint8_t>(one.qzeros), as<__half>(one.scales), to.layout.n, k, groups},
          to, stream);
    case AWQ_CUDA_LAYOUT_GEMM:
      return repack_joined(from, to, stream, [&](const awq_cuda_source& s, int64_t n) {
        return GemmFile{as<uint32_t>(s.qweight), as<uint32_t>(s.qzeros), as<__half>(s.scales), n, k, groups};
      });
    case AWQ_CUDA_LAYOUT_GEMV:
      return repack_joined(from, to, stream, [&](const awq_cuda_source& s, int64_t n) {
        return GemvFile{as<uint32_t>(s.qweight), as<uint32_t>(s.qzeros), as<__half>(s.scales), n, k, padded_groups};
      });
    case AWQ_CUDA_LAYOUT_GEMV_FAST:
      if (from.parts > 1) break;
      return repack_from(
          GemvFastFile{as<uint16_t>(one.qweight), as<__half>(one.qzeros), as<__half>(one.scales), to.layout.n, k}, to,
          stream);
  }
  return cudaErrorInvalidValue;
}

cudaError_t repack(const awq_cuda_source& from, int64_t padded_groups, const TileArrays& to, cudaStream_t stream) {
  return repack({.parts = 1, .part = {from}, .rows = {to.layout.n}}, padded_groups, to, stream);
}

cudaError_t unrepack(const TileArrays& from, const PlainArrays& to, cudaStream_t stream) {
  const TileLayout& layout = from.layout;
  unrepack_codes<<<blocks_for(lane_count(layout)), kThreads, 0, stream>>>(as<uint4>(from.qweight), layout,
                                                                          static_cast<uint8_t*>(to.q));
  unrepack_groups<<<blocks_for(layout.n * (layout.k / layout.group)), kThreads, 0, stream>>>(
      layout, as<__half>(from.scales), as<uint8_t>(from.zeros), static_cast<uint8_t*>(to.zeros),
      static_cast<__half*>(to.scales));
  return cudaGetLastError();
}

}  // namespace awq::backend::cuda
