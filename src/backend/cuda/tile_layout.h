// The one layout that every CUDA kernel of this project reads, for host and device code alike. Any file layout is
// repacked into it at load (repack.cu), so any file runs on any kernel.
//
// Unit: a fragment tile of 16 output features x 64 input features, 512 bytes, 16 bytes a lane of a warp. Lane l (g = l
// / 4, t = l % 4) holds four 32-bit words, word j for the 16 input features of k-step j: exactly its share of operand A
// of mma.m16n8k16 (and of wgmma.m64nNk16, whose warp w owns rows 16w..16w+15), so one 16-byte load feeds four
// instructions.
//
//   nibble of word j     7      6      5      4      3      2      1      0
//   row (of 16)         g+8     g     g+8     g     g+8     g     g+8     g
//   k - 16j            2t+9   2t+9   2t+1   2t+1   2t+8   2t+8    2t     2t
//   register of A        a3     a2     a1     a0     a3     a2     a1     a0
//
// Masking a word with 0x000f000f or 0x00f000f0 therefore yields one register's two halves in place (fragments.cuh).
// Tiles are ordered [n / 64][k / 64][4 tiles of the 64 rows]: 64 rows x 64 k are 2 KB in one piece, all k of 64 rows
// too. n is padded to a multiple of 64 and k to a multiple of 128; padding has q = z and s = 0, so it adds exactly
// zero.
//
//   scales  f16 [n / 64][groups][4 tiles][16]   entry 2g+h is row g+8h: one 32-bit load gives a lane both of its rows
//   zeros   u8  [n / 64][groups][4 tiles][8]    byte g is z(row g) | z(row g+8) << 4
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/host_device.h"

namespace awq::backend::cuda {

inline constexpr int kTileRows = 16, kTileK = 64, kRowBlock = 64, kPadK = 128;
inline constexpr int kTileBytes = kTileRows * kTileK / 2;  // 512

struct TileLayout {
  int64_t n = 0, k = 0;
  int group = 128;  // 32, 64, a multiple of 128, or k

  AWQ_HD constexpr int64_t padded_n() const { return (n + kRowBlock - 1) / kRowBlock * kRowBlock; }
  AWQ_HD constexpr int64_t padded_k() const { return (k + kPadK - 1) / kPadK * kPadK; }
  AWQ_HD constexpr int64_t chunks() const { return padded_k() / kTileK; }  // of 64 input features
  AWQ_HD constexpr int64_t row_tiles() const { return padded_n() / kTileRows; }
  // Groups stored a row. Groups of 128 and more do not start inside the padding: the last one covers it.
  AWQ_HD constexpr int64_t groups() const { return group < kPadK && group != k ? padded_k() / group : k / group; }

  AWQ_HD constexpr size_t qweight_bytes() const { return static_cast<size_t>(padded_n() * padded_k() / 2); }
  AWQ_HD constexpr size_t scales_bytes() const { return static_cast<size_t>(padded_n() * groups() * 2); }
  AWQ_HD constexpr size_t zeros_bytes() const { return static_cast<size_t>(padded_n() * groups() / 2); }

  // Index of a tile in units of 512 bytes; `row_tile` = row / 16, `chunk` = k / 64.
  AWQ_HD constexpr int64_t tile(int64_t row_tile, int64_t chunk) const {
    return (row_tile / 4 * chunks() + chunk) * 4 + row_tile % 4;
  }
  // Index of the 32-bit word that holds weight (row, col), and the nibble in it.
  AWQ_HD constexpr int64_t word(int64_t row, int64_t col) const {
    const int64_t lane = row % 8 * 4 + col % 8 / 2, step = col % kTileK / 16;
    return (tile(row / kTileRows, col / kTileK) * 32 + lane) * 4 + step;
  }
  AWQ_HD static constexpr int nibble(int64_t row, int64_t col) {
    return static_cast<int>(col % 2 * 4 + col % 16 / 8 * 2 + row % 16 / 8);
  }
  // Index of the 16 scales (32 bytes) and 8 bytes of zero points of a row's tile and a group.
  AWQ_HD constexpr int64_t scale_tile(int64_t row, int64_t g) const {
    return (row / kRowBlock * groups() + g) * 4 + row % kRowBlock / kTileRows;
  }
  // Index of a scale. The zero point of the same row: byte zero_byte, shifted right by zero_shift.
  AWQ_HD constexpr int64_t scale(int64_t row, int64_t g) const {
    return scale_tile(row, g) * 16 + row % 8 * 2 + row % 16 / 8;
  }
  AWQ_HD constexpr int64_t zero_byte(int64_t row, int64_t g) const { return scale_tile(row, g) * 8 + row % 8; }
  AWQ_HD static constexpr int zero_shift(int64_t row) { return static_cast<int>(row % 16 / 8 * 4); }
};

// The group sizes that the layout's kernels take: see TileLayout::group.
constexpr bool tile_layout_takes_group(int64_t k, int64_t group) {
  return group > 0 && k % group == 0 && (group == 32 || group == 64 || group % kPadK == 0 || group == k);
}

}  // namespace awq::backend::cuda
