// The emulator itself: that it runs what is right, and names what is wrong.
#include <gmock/gmock.h>

#include <numeric>
#include <vector>

#include "backend/cuda/kernels/cluster.cuh"
#include "backend/cuda/kernels/fragments.cuh"
#include "backend/cuda/kernels/launch_kernel.h"
#include "backend/cuda/kernels/tensor_maps.h"
#include "backend/cuda/kernels/wgmma.cuh"

namespace awq::backend::cuda {
namespace {

using ::testing::HasSubstr;

__global__ void meet_across_the_grid(uint32_t* counter, uint32_t* seen) {
  __shared__ uint32_t before;
  if (threadIdx.x == 0) {
    asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(counter) : "memory");
    do asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(before) : "l"(counter) : "memory");
    while (before < gridDim.x);
  }
  __syncthreads();
  seen[blockIdx.x * blockDim.x + threadIdx.x] = before + (__ballot_sync(~0u, threadIdx.x % 2 == 0) & 1);
}

__global__ void only_half_arrives(int) {
  if (threadIdx.x < 32) asm volatile("bar.sync 3, %0;" ::"r"(64) : "memory");
}

// The upper half of each block ends between the two halves of the barrier.
__global__ void some_arrive_and_end(uint32_t* arrived, uint32_t* seen) {
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(arrived) : "memory");
  arrive_at_cluster();
  if (threadIdx.x >= blockDim.x / 2) return;
  wait_for_cluster();
  seen[blockIdx.x * blockDim.x + threadIdx.x] = *arrived;
}

__global__ void copy_tile(const __grid_constant__ CUtensorMap map, __half* out, int row, int off, bool waits) {
  extern __shared__ __align__(1024) unsigned char smem[];
  __shared__ __align__(8) uint64_t ready;
  const uint32_t barrier = smem_address(&ready);
  if (threadIdx.x == 0) {
    barrier_init(barrier, 1);
    barrier_expect(barrier, 8 * 128);
    tensor_copy(smem_address(smem) + off, &map, 0, row, 0, barrier, kEvictFirst);
    if (waits) barrier_wait(barrier, 0);
    for (int i = 0; i < 8 * 64; ++i) out[i] = reinterpret_cast<const __half*>(smem)[i];
    barrier_wait(barrier, 0);
  }
}

// Element (r, k) is 64 r + k, in swizzled units; then 0, which is stored where nothing waited for the store to read.
__global__ void store_tile(const __grid_constant__ CUtensorMap map, int row, bool waits, bool overwrites) {
  extern __shared__ __align__(1024) unsigned char smem[];
  auto* const tile = reinterpret_cast<__half*>(smem);
  if (threadIdx.x != 0) return;
  for (int r = 0; r < 8; ++r)
    for (int k = 0; k < 64; ++k) tile[r * 64 + (k / 8 ^ r) * 8 + k % 8] = __float2half(static_cast<float>(64 * r + k));
  show_to_stores();
  tensor_store(smem_address(smem), &map, 0, row, 0);
  stores_commit();
  if (waits && !overwrites) stores_wait();
  for (int i = 0; i < 8 * 64 && overwrites; ++i) tile[i] = __float2half(0.f);
  if (waits) stores_wait();
}

// Lane 4g + t holds row g, columns 2t and 2t + 1 of four matrices; matrix i has 100 i + 8 row + column.
__global__ void store_matrices_transposed(__half* out) {
  extern __shared__ __align__(16) unsigned char smem[];
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  uint32_t held[4];
  for (int i = 0; i < 4; ++i) {
    const auto first = static_cast<float>(100 * i + 8 * g + 2 * t);
    held[i] = bits(__floats2half2_rn(first, first + 1));
  }
  stmatrix4_transposed(smem_address(smem) + threadIdx.x * 16, held);
  __syncwarp();
  for (int i = 0; i < 8; ++i) out[threadIdx.x * 8 + i] = reinterpret_cast<const __half*>(smem)[threadIdx.x * 8 + i];
}

__global__ void write_behind(int at) {
  extern __shared__ unsigned char smem[];
  smem[at] = 1;
}

__global__ void load_behind(int at, uint32_t* out) {
  extern __shared__ unsigned char smem[];
  *out = load_shared32(smem_address(smem) + at);
}

template <class T>
class OnDevice {
 public:
  explicit OnDevice(size_t count) : count_(count) { cudaMalloc(reinterpret_cast<void**>(&data_), count * sizeof(T)); }
  ~OnDevice() { cudaFree(data_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  T* data() const { return data_; }
  T& operator[](size_t i) const { return data_[i]; }
  T* begin() const { return data_; }
  T* end() const { return data_ + count_; }

 private:
  T* data_ = nullptr;
  size_t count_;
};

// What the launch left behind for cudaGetErrorString.
std::string failure_of(cudaError_t launched) {
  cudaGetLastError();
  return launched == cudaSuccess ? "" : cudaGetErrorString(launched);
}

TEST(Emulator, BlocksOfACooperativeGridWaitForEachOther) {
  const OnDevice<uint32_t> counter(1), seen(5 * 64);
  counter[0] = 0;
  EXPECT_EQ(launch_kernel(meet_across_the_grid, dim3(5), 64, 0, nullptr, false, counter.data(), seen.data()),
            cudaSuccess);
  EXPECT_THAT(std::vector<uint32_t>(seen.begin(), seen.end()), ::testing::Each(5 + 1));
}

TEST(Emulator, ADeadlockSaysWhoWaitsOnWhat) {
  const std::string why = failure_of(launch_kernel(only_half_arrives, dim3(2), 64, 0, nullptr, false, 0));
  EXPECT_THAT(why, HasSubstr("deadlock"));
  EXPECT_THAT(why, HasSubstr("block 1 warp 0 lanes 0xffffffff: bar.sync of barrier 3: 32 of 64 threads have come"));
}

TEST(Emulator, AnEndedThreadHasArrivedAtItsClusterOnce) {
  const OnDevice<uint32_t> arrived(1), seen(3 * 64);
  arrived[0] = 0;
  EXPECT_EQ(launch_in_clusters(3, some_arrive_and_end, dim3(3), 64, 0, nullptr, false, arrived.data(), seen.data()),
            cudaSuccess);
  for (size_t block = 0; block < 3; ++block)
    for (size_t i = 0; i < 32; ++i) EXPECT_EQ(seen[block * 64 + i], 3u * 64) << block << " " << i;
}

class TensorCopy : public ::testing::Test {
 protected:
  void SetUp() override {
    for (size_t i = 0; i < kRows * 64; ++i) matrix_[i] = __float2half(static_cast<float>(i % 1024));
    ASSERT_EQ(make_rows_map(matrix_.data(), kRows, 64, 8, 1, &map_), cudaSuccess);
  }
  std::string copy(int row, int off, bool waits) {
    return failure_of(launch_kernel(copy_tile, dim3(1), 32, 2048, nullptr, false, map_, out_.data(), row, off, waits));
  }
  // Element (r, k) of the box, whose 16-byte units are swizzled.
  float at(size_t r, size_t k) const { return __half2float(out_[r * 64 + ((k / 8 ^ r) * 8 + k % 8)]); }

  static constexpr size_t kRows = 20;
  const OnDevice<__half> matrix_{kRows * 64}, out_{8 * 64};
  CUtensorMap map_;
};

TEST_F(TensorCopy, SwizzlesAndReadsZerosOutside) {
  EXPECT_EQ(copy(16, 0, true), "");
  for (size_t r = 0; r < 8; ++r)
    for (size_t k = 0; k < 64; ++k)
      ASSERT_EQ(at(r, k), 16 + r < kRows ? static_cast<float>(((16 + r) * 64 + k) % 1024) : 0.f) << r << " " << k;
}

TEST_F(TensorCopy, LandsNoSoonerThanItIsWaitedFor) {
  EXPECT_EQ(copy(0, 0, false), "");
  EXPECT_TRUE(std::isnan(at(0, 1)));
}

TEST_F(TensorCopy, NeedsAnAlignedPlaceInsideSharedMemory) {
  EXPECT_THAT(copy(0, 64, true), HasSubstr("misaligned: 16 bytes at offset 64 of 2048"));
  EXPECT_THAT(copy(0, 1152, true), HasSubstr("outside shared memory: 1024 bytes at offset 1152 of 2048"));
}

class TensorStore : public TensorCopy {
 protected:
  std::string store(int row, bool waits, bool overwrites) {
    return failure_of(launch_kernel(store_tile, dim3(1), 32, 1024, nullptr, false, map_, row, waits, overwrites));
  }
  float stored(size_t row, size_t k) const { return __half2float(matrix_[row * 64 + k]); }
};

TEST_F(TensorStore, TakesTheSwizzleOutAndWritesNothingOutside) {
  EXPECT_EQ(store(16, true, false), "");
  for (size_t r = 16; r < kRows; ++r)
    for (size_t k = 0; k < 64; ++k) ASSERT_EQ(stored(r, k), static_cast<float>(64 * (r - 16) + k)) << r << " " << k;
  EXPECT_EQ(stored(15, 63), 15 * 64 + 63);
}

TEST_F(TensorStore, ReadsNoSoonerThanItIsWaitedFor) {
  EXPECT_EQ(store(0, true, true), "");
  EXPECT_EQ(stored(0, 1), 0);
}

TEST_F(TensorStore, IsWaitedForByTheThreadThatOrderedIt) {
  EXPECT_THAT(store(0, false, false),
              HasSubstr("ended while bulk stores out of its block's shared memory were under way"));
}

TEST(Emulator, MatricesAreStoredTransposed) {
  const OnDevice<__half> out(32 * 8);
  EXPECT_EQ(failure_of(launch_kernel(store_matrices_transposed, dim3(1), 32, 512, nullptr, false, out.data())), "");
  for (size_t lane = 0; lane < 32; ++lane)
    for (size_t i = 0; i < 8; ++i)
      EXPECT_EQ(__half2float(out[lane * 8 + i]), static_cast<float>(lane / 8 * 100 + 8 * i + lane % 8))
          << lane << " " << i;
}

TEST(Emulator, AccessesOutsideSharedMemoryAreNamed) {
  const OnDevice<uint32_t> out(1);
  EXPECT_THAT(failure_of(launch_kernel(write_behind, dim3(1), 1, 100, nullptr, false, 100)),
              HasSubstr("block 0 wrote outside its shared memory, at offset 100 of 100 bytes"));
  EXPECT_EQ(failure_of(launch_kernel(write_behind, dim3(1), 1, 100, nullptr, false, 99)), "");
  EXPECT_THAT(failure_of(launch_kernel(load_behind, dim3(1), 1, 100, nullptr, false, 100, out.data())),
              HasSubstr("ld.shared.u32: outside shared memory"));
  EXPECT_THAT(failure_of(launch_kernel(load_behind, dim3(1), 1, 100, nullptr, false, 2, out.data())),
              HasSubstr("ld.shared.u32: misaligned"));
}

}  // namespace
}  // namespace awq::backend::cuda
