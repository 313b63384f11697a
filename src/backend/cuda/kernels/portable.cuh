// What the kernels without tensor cores share: y[token][row] = sum_k x[token][k] * s[row][g] * (q[row][k] - z[row][g]).
//
// float32 arithmetic on the ordinary cores: nothing here asks for more than 6.0, so nothing is guarded. Bit diagram:
// tile_layout.h; a lane's word j holds rows g and g + 8 at k = 16j + {2t, 2t+1, 2t+8, 2t+9}. s * (q - z) has 16 bits
// and is exact in float32. Every sum has one fixed order.
//
// A load takes 400 to 800 cycles and a chip of this age has few warps to hide it, so both kernels fetch everything that
// their next step needs, scales and zero points too, into registers before they multiply the present one.
#pragma once
#include "backend/cuda/kernels/chunk_groups.cuh"
#include "backend/cuda/kernels/epilogue.cuh"

namespace awq::backend::cuda {

template <class T>
struct PortableArgs {
  Epilogue<T> out;
  const uint4* qweight;
  const __half2* scales;
  const uint8_t* zeros;
  ChunkGroups groups_of;
  int chunks, groups;
};

template <class T>
PortableArgs<T> make_portable_args(const LinearArgs& a) {
  const TileLayout& l = a.layout;
  return {make_epilogue<T>(a),
          static_cast<const uint4*>(a.qweight),
          static_cast<const __half2*>(a.scales),
          static_cast<const uint8_t*>(a.zeros),
          make_chunk_groups(l),
          static_cast<int>(l.chunks()),
          static_cast<int>(l.groups())};
}

// Scales and zero points of a lane's two rows in one group, as stored.
struct Parameters {
  __half2 scales;
  uint32_t zeros;
};

// Those of half a chunk, 32 input features: they lie in one group.
template <class T>
__device__ Parameters load_parameters(const PortableArgs<T>& p, int tile, int chunk, int half, int lane) {
  const int64_t at = ((int64_t{tile / 4} * p.groups + p.groups_of.of(chunk, half)) * 4 + tile % 4) * 8 + lane / 4;
  return {p.scales[at], p.zeros[at]};
}

// The lane's 16 bytes of a tile and chunk.
template <class T>
__device__ const uint4* words_at(const PortableArgs<T>& p, int tile, int chunk, int lane) {
  return p.qweight + ((int64_t{tile / 4} * p.chunks + chunk) * 4 + tile % 4) * 32 + lane;
}

// q - z, exactly: 0x4b000000 | q is the float 2^23 + q, without a conversion, which runs at a quarter of the rate.
struct RowPair {
  float scale[2], offset[2];  // 2^23 + z

  __device__ explicit RowPair(const Parameters& p) {
    scale[0] = __low2float(p.scales), scale[1] = __high2float(p.scales);
    offset[0] = magic(p.zeros & 15), offset[1] = magic(p.zeros >> 4);
  }

  // Nibble i of a word is of row i % 2.
  __device__ float weight(uint32_t word, int i) const { return magic(word >> 4 * i & 15) - offset[i % 2]; }

 private:
  __device__ static float magic(uint32_t q) { return __uint_as_float(q | 0x4b000000); }
};

__device__ inline float2 unpack_pair(uint32_t bits, __half) {
  __half2 v;
  memcpy(&v, &bits, sizeof v);
  return __half22float2(v);
}
__device__ inline float2 unpack_pair(uint32_t bits, __nv_bfloat16) {
  return {__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000)};
}

// 8 input features of a token, zero beyond k and m.
template <class T>
__device__ uint4 load_unit(const Epilogue<T>& io, int64_t token, int64_t column) {
  if (token >= io.m || column >= io.k) return {};
  return *reinterpret_cast<const uint4*>(io.x + token * io.k + column);
}

}  // namespace awq::backend::cuda
