#include <algorithm>
#include <vector>

#include "backend/cuda/lab/sm_clock.h"

namespace awq::backend::cuda::lab {
namespace {

__global__ void stamp(ClockStamp* by_sm) {
  if (threadIdx.x != 0) return;
  uint32_t sm;
  uint64_t nanoseconds;
  asm volatile("mov.u32 %0, %%smid;" : "=r"(sm));
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(nanoseconds));
  if (sm < kMaxSms) by_sm[sm] = {static_cast<uint64_t>(clock64()), nanoseconds};
}

}  // namespace

void stamp_clocks(ClockStamp* by_sm, int sms, cudaStream_t stream) { stamp<<<2 * sms, 1024, 0, stream>>>(by_sm); }

double sm_mhz(const ClockStamp* before, const ClockStamp* after) {
  std::vector<double> mhz;
  for (int sm = 0; sm < kMaxSms; ++sm) {
    if (before[sm].nanoseconds == 0 || after[sm].nanoseconds <= before[sm].nanoseconds) continue;
    const double ns = static_cast<double>(after[sm].nanoseconds - before[sm].nanoseconds);
    mhz.push_back(1e3 * static_cast<double>(after[sm].cycles - before[sm].cycles) / ns);
  }
  if (mhz.empty()) return 0;
  std::nth_element(mhz.begin(), mhz.begin() + mhz.size() / 2, mhz.end());
  return mhz[mhz.size() / 2];
}

}  // namespace awq::backend::cuda::lab
