// Keys and values on their way to one warp: a ring of tiles in shared memory, which this warp fills and reads alone.
// So nothing but the memory decides how much is on its way; registers held 16 keys and values, 8 KB of d = 128.
//
//   tile       16 rows of kD halves: the keys of a group, then its values, then those of the next group
//   swizzled   16-byte unit u of row r lies at u ^ (r % 8): eight rows of ldmatrix are in different banks
#pragma once
#include "backend/cuda/run/attend_rows.cuh"

namespace awq::backend::cuda {

template <int kD>
class TileRing {
 public:
  static constexpr int kUnits = kD / 8, kTileBytes = kGroupKeys * kD * 2, kMostTiles = 6;

  // `memory`: of `tiles` of them. The warp's groups begin at `first` and every `step` keys before `until`, multiples of
  // 16 all: a group is in one page. Keys from `end` on are zero, like numbers beyond d.
  __device__ __forceinline__ TileRing(uint32_t memory, int tiles, const HeadCache& cache, int first, int step,
                                      int until, int end)
      : memory_(memory), tiles_(tiles), cache_(cache), step_(step), until_(until), end_(end), next_(first) {
    if (next_ < until_) page_ = page_of_next();
  }

  // Begins to copy the first tiles.
  __device__ __forceinline__ void begin(int lane) {
    for (int i = 0; i < tiles_; ++i) copy_next(lane), advance();
  }

  // Until the next tile in turn is there.
  __device__ __forceinline__ void wait() const {
    if (tiles_ >= 6)
      copy_wait<5>();
    else if (tiles_ >= 4)
      copy_wait<3>();
    else if (tiles_ >= 2)
      copy_wait<1>();
    else
      copy_wait<0>();
    __syncwarp();
  }
  // The tile was read: what follows those on their way is copied to its place.
  __device__ __forceinline__ void release(int lane) {
    __syncwarp();
    copy_next(lane), advance();
  }

  // Makes `from` row number `which` of the tile.
  __device__ __forceinline__ void put(int which, const __half* from, int lane) const {
    if (lane < cache_.d / 8) {
      const uint4 v = reinterpret_cast<const uint4*>(from)[lane];
      asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(tile() + which * kD * 2 + ((lane ^ which % 8) << 4)),
                   "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
                   : "memory");
    }
    __syncwarp();
  }

  // Where ldmatrix finds columns 16 s to 16 s + 15: lanes name rows 0 to 7 of the first eight, of the others, and then
  // rows 8 to 15.
  __device__ __forceinline__ uint32_t matrices(int s, int lane) const {
    const int row = lane % 8 + lane / 16 * 8, unit = 2 * s + lane / 8 % 2;
    return tile() + row * kD * 2 + ((unit ^ lane % 8) << 4);
  }

 private:
  __device__ __forceinline__ uint32_t tile() const { return memory_ + slot_ * kTileBytes; }
  __device__ __forceinline__ void advance() {
    if (++slot_ == tiles_) slot_ = 0;
  }
  __device__ __forceinline__ const __half* page_of_next() const {
    return static_cast<const __half*>(cache_.pages[next_ / kPageTokens]);
  }

  // To the present slot. A commit with or without a copy: wait() counts them.
  __device__ __forceinline__ void copy_next(int lane) {
    if (next_ < until_) {
      copy_tile(page_ + (values_ ? cache_.values : cache_.keys) + next_ % kPageTokens * cache_.d, end_ - next_, lane);
      if (values_ && (next_ += step_) < until_) page_ = page_of_next();  // long before it is used
      values_ = !values_;
    }
    copy_commit();
  }

  __device__ __forceinline__ void copy_tile(const __half* rows, int count, int lane) const {
    constexpr int kAtOnce = 32 / kUnits, kTurns = kGroupKeys / kAtOnce;  // rows
    const int row = lane / kUnits, u = lane % kUnits;
    const uint32_t to = tile() + row * kD * 2;
    const auto unit = [&](int i) { return to + i * kAtOnce * kD * 2 + ((u ^ row ^ i * kAtOnce % 8) << 4); };
    if (count >= kGroupKeys && cache_.d == kD) {  // a third of the instructions
      const __half* const from = rows + lane * 8;
#pragma unroll
      for (int i = 0; i < kTurns; ++i) copy16(unit(i), from + i * 256, 16);
      return;
    }
    const __half* const from = rows + row * cache_.d + 8 * u;
#pragma unroll
    for (int i = 0; i < kTurns; ++i)
      copy16(unit(i), from + i * kAtOnce * cache_.d, row + i * kAtOnce < count && 8 * u < cache_.d ? 16 : 0);
  }

  const uint32_t memory_;
  const int tiles_;
  const HeadCache cache_;
  const int step_, until_, end_;
  int next_, slot_ = 0;           // next_: the group that is copied next
  const __half* page_ = nullptr;  // that it is in
  bool values_ = false;           // of it
};

}  // namespace awq::backend::cuda
