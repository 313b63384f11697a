// The clock that the multiprocessors ran at, from their cycle counters: nvidia-smi's figure is one sample of another
// moment.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

namespace awq::backend::cuda::lab {

struct ClockStamp {
  uint64_t cycles = 0, nanoseconds = 0;  // 0: no block ran on that multiprocessor
};
inline constexpr int kMaxSms = 1024;

// Writes the stamp of every multiprocessor that a block lands on, by its number; the others stay as they are.
void stamp_clocks(ClockStamp* by_sm, int sms, cudaStream_t stream);

// Median over the multiprocessors stamped both times; 0 when there is none.
double sm_mhz(const ClockStamp* before, const ClockStamp* after);  // host memory, kMaxSms each

}  // namespace awq::backend::cuda::lab
